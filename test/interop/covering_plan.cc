// SPDX-License-Identifier: Apache-2.0
//
// The greedy way: a combination begins with a pair that has not been, and each
// further value is the one that brings most that is new.
#include "interop/covering_plan.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <random>

namespace flatcow {
namespace {

// A value that has never been is worth more than any number of pairs.
constexpr size_t kWorthOfNewValue = 1000;

std::pair<Choice, Choice> PairOf(const Choice& a, const Choice& b) {
  return a < b ? std::pair(a, b) : std::pair(b, a);
}

// Not std::shuffle, whose order each library may choose.
template <typename T>
void Shuffle(std::vector<T>& values, std::mt19937_64& random) {
  for (size_t i = values.size(); i > 1; --i) {
    std::swap(values[i - 1], values[random() % i]);
  }
}

std::vector<Choice> ChoicesOf(const Combination& combination) {
  std::vector<Choice> choices;
  for (const auto& [dimension, value] : combination) {
    choices.push_back({dimension, value});
  }
  return choices;
}

template <typename Visitor>
void ForEachPair(const Combination& combination, const Visitor& visit) {
  const std::vector<Choice> choices = ChoicesOf(combination);
  for (size_t i = 0; i < choices.size(); ++i) {
    for (size_t j = 0; j < i; ++j) visit(PairOf(choices[i], choices[j]));
  }
}

}  // namespace

CoveringPlan::CoveringPlan(std::vector<Dimension> dimensions, Legal legal)
    : dimensions_(std::move(dimensions)), legal_(std::move(legal)) {
  for (const Dimension& dimension : dimensions_) {
    std::vector<Choice> of_this;
    for (const std::string& value : dimension.values) {
      of_this.push_back({dimension.name, value});
    }
    for (const Choice& earlier : choices_) {
      for (const Choice& choice : of_this) {
        if (MayBeTogether(earlier, choice)) {
          pairs_.push_back(PairOf(earlier, choice));
        }
      }
    }
    choices_.insert(choices_.end(), of_this.begin(), of_this.end());
  }
  StartRound();
}

void CoveringPlan::StartRound() {
  new_choices_ = {choices_.begin(), choices_.end()};
  new_pairs_ = {pairs_.begin(), pairs_.end()};
}

const Combination& CoveringPlan::At(size_t n) {
  while (combinations_.size() <= n) {
    if (new_pairs_.empty()) StartRound();
    const Combination& next =
        combinations_.emplace_back(Next(combinations_.size()));
    for (const Choice& choice : ChoicesOf(next)) new_choices_.erase(choice);
    ForEachPair(next, [this](const Pair& pair) { new_pairs_.erase(pair); });
  }
  return combinations_[n];
}

Combination CoveringPlan::Next(size_t n) const {
  std::mt19937_64 random(n);
  std::vector<Choice> chosen;
  const auto fits = [&](const Choice& choice) {
    return std::all_of(chosen.begin(), chosen.end(), [&](const Choice& other) {
      return MayBeTogether(other, choice);
    });
  };
  const auto worth = [&](const Choice& choice) {
    size_t sum = new_choices_.count(choice) * kWorthOfNewValue;
    for (const Choice& other : chosen) {
      sum += new_pairs_.count(PairOf(other, choice));
    }
    return sum;
  };
  const auto begin = std::next(
      new_pairs_.begin(), static_cast<ptrdiff_t>(random() % new_pairs_.size()));
  chosen = {begin->first, begin->second};
  std::vector<Dimension> order = dimensions_;
  Shuffle(order, random);
  for (Dimension& dimension : order) {
    if (dimension.name == begin->first.dimension ||
        dimension.name == begin->second.dimension) {
      continue;
    }
    Shuffle(dimension.values, random);
    Choice best;
    size_t best_worth = 0;
    for (const std::string& value : dimension.values) {
      const Choice choice{dimension.name, value};
      if (!fits(choice)) continue;
      const size_t its_worth = worth(choice);
      if (best.value.empty() || its_worth > best_worth) {
        best = choice;
        best_worth = its_worth;
      }
    }
    chosen.push_back(best);
  }
  Combination combination;
  for (const Choice& choice : chosen) {
    combination[choice.dimension] = choice.value;
  }
  return combination;
}

std::vector<Choice> CoveringPlan::MissingValues(size_t n) {
  std::set<Choice> missing(choices_.begin(), choices_.end());
  for (size_t i = 0; i < n; ++i) {
    for (const Choice& choice : ChoicesOf(At(i))) missing.erase(choice);
  }
  return {missing.begin(), missing.end()};
}

std::vector<std::pair<Choice, Choice>> CoveringPlan::MissingPairs(size_t n) {
  std::set<Pair> missing(pairs_.begin(), pairs_.end());
  for (size_t i = 0; i < n; ++i) {
    ForEachPair(At(i), [&](const Pair& pair) { missing.erase(pair); });
  }
  return {missing.begin(), missing.end()};
}

}  // namespace flatcow
