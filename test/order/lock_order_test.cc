// SPDX-License-Identifier: Apache-2.0
//
// The parts that keep requests apart, each in every order of a few threads.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "image/flush_rounds.h"
#include "image/io_gate.h"
#include "image/range_lock.h"
#include "order/explorer.h"

namespace flatcow::order {
namespace {

constexpr uint64_t kNoLimit = 1000000;

// Says who is inside, and lets others run meanwhile. The counts are atomics so
// that the explorer knows of them.
class Inside {
 public:
  explicit Inside(std::atomic<int>& count) : count_(count) {
    ++count_;
    Pause();
  }
  ~Inside() { --count_; }

 private:
  std::atomic<int>& count_;
};

TEST(LockOrderTest, AloneInTheGateMeansAlone) {
  int wrong = 0;
  ExploreAll(
      [&](const Chooser& choose) {
        IoGate gate;
        std::atomic<int> sharing{0};
        std::atomic<int> alone{0};
        const auto share = [&] {
          const IoGate::Shared shared(gate);
          const Inside inside(sharing);
          if (alone != 0) ++wrong;
        };
        return RunThreads({share,
                           [&] {
                             const IoGate::Exclusive exclusive(gate);
                             const Inside inside(alone);
                             if (sharing != 0) ++wrong;
                           },
                           share},
                          "gate", choose);
      },
      kNoLimit);
  EXPECT_EQ(wrong, 0);
}

TEST(LockOrderTest, TheGateStandsOnItsAtomics) {
  const PauseAtAtomics all;
  int wrong = 0;
  ExploreAll(
      [&](const Chooser& choose) {
        IoGate gate;
        std::atomic<int> sharing{0};
        std::atomic<int> alone{0};
        return RunThreads({[&] {
                             const IoGate::Shared shared(gate);
                             const Inside inside(sharing);
                             if (alone != 0) ++wrong;
                           },
                           [&] {
                             const IoGate::Exclusive exclusive(gate);
                             const Inside inside(alone);
                             if (sharing != 0) ++wrong;
                           }},
                          "gate", choose);
      },
      kNoLimit);
  EXPECT_EQ(wrong, 0);
}

TEST(LockOrderTest, OverlappingRangesAreHeldOneAtATime) {
  int wrong = 0;
  ExploreAll(
      [&](const Chooser& choose) {
        RangeLock ranges;
        std::atomic<int> holders{0};
        const auto hold = [&](Extent range) {
          const RangeLock::Hold held(ranges, range);
          const Inside inside(holders);
          if (holders != 1) ++wrong;
        };
        return RunThreads({[&] {
                             hold({0, 10});
                           },
                           [&] {
                             hold({9, 10});
                           },
                           [&] {
                             hold({5, 5});
                           }},
                          "ranges", choose);
      },
      kNoLimit);
  EXPECT_EQ(wrong, 0);
}

TEST(LockOrderTest, WhoeverAsksForARoundGetsOneThatBeganLater) {
  int wrong = 0;
  ExploreAll(
      [&](const Chooser& choose) {
        FlushRounds rounds;
        std::atomic<int> begun{0};
        const auto flush = [&] {
          const int before = begun;
          const absl::Status status = rounds.Join([&] {
            ++begun;
            Pause();
            return absl::OkStatus();
          });
          if (!status.ok() || begun == before) ++wrong;
        };
        return RunThreads({flush, flush, flush}, "rounds", choose);
      },
      kNoLimit);
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace flatcow::order
