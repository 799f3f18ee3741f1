// SPDX-License-Identifier: Apache-2.0
//
// Combinations of values, in an order in which few of them have had every two
// values together that may be together: what breaks is mostly one value or two.
//
//   CoveringPlan plan({{"compat", {"0.10", "1.1"}}, {"bitmap", {"no", "yes"}}},
//                     [](const Choice& a, const Choice& b) {
//                       return !(a.Is("compat", "0.10") &&
//                                b.Is("bitmap", "yes"));
//                     });
//   plan.At(7).at("compat");
#ifndef FLATCOW_TEST_INTEROP_COVERING_PLAN_H_
#define FLATCOW_TEST_INTEROP_COVERING_PLAN_H_

#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace flatcow {

struct Dimension {
  std::string name;
  std::vector<std::string> values;
};

// One value of one dimension.
struct Choice {
  std::string dimension;
  std::string value;

  bool Is(const std::string& a_dimension, const std::string& a_value) const {
    return dimension == a_dimension && value == a_value;
  }
  friend bool operator==(const Choice&, const Choice&) = default;
  friend auto operator<=>(const Choice&, const Choice&) = default;
};

// Dimension -> value, for all dimensions.
using Combination = std::map<std::string, std::string>;

// Not thread-safe.
class CoveringPlan {
 public:
  // May these be together? Asked in both orders; both have to be true.
  using Legal = std::function<bool(const Choice&, const Choice&)>;

  // Precondition: each dimension has a value that is legal with everything, so
  // that a combination begun can always be finished.
  CoveringPlan(std::vector<Dimension> dimensions, Legal legal);

  // The nth combination, the same one in each run of the program. When all
  // pairs have been together, it begins again in another way.
  const Combination& At(size_t n);

  // What the first n combinations do not have: single values, and pairs that
  // are legal.
  std::vector<Choice> MissingValues(size_t n);
  std::vector<std::pair<Choice, Choice>> MissingPairs(size_t n);

 private:
  using Pair = std::pair<Choice, Choice>;  // the lesser first

  bool MayBeTogether(const Choice& a, const Choice& b) const {
    return legal_(a, b) && legal_(b, a);
  }
  void StartRound();
  Combination Next(size_t n) const;

  const std::vector<Dimension> dimensions_;
  const Legal legal_;
  std::vector<Choice> choices_;  // all there are
  std::vector<Pair> pairs_;      // all that are legal
  std::vector<Combination> combinations_;
  // What the current round has not had.
  std::set<Choice> new_choices_;
  std::set<Pair> new_pairs_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_INTEROP_COVERING_PLAN_H_
