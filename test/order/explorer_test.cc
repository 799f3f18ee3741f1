// SPDX-License-Identifier: Apache-2.0
//
// The explorer itself, on threads of a few steps.
#include "order/explorer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"

namespace flatcow::order {
namespace {

constexpr uint64_t kNoLimit = 1000000;

// Each thread appends its name under the lock, `times` times.
uint64_t CountOrders(int threads, int times, std::set<std::string>& seen) {
  return ExploreAll(
      [&](const Chooser& choose) {
        Mutex mutex;
        std::string order;
        std::vector<std::function<void()>> bodies;
        for (int thread = 0; thread < threads; ++thread) {
          bodies.push_back([&, thread] {
            for (int i = 0; i < times; ++i) {
              MutexLock lock(mutex);
              order.push_back(static_cast<char>('a' + thread));
            }
          });
        }
        std::vector<Step> steps = RunThreads(bodies, "letters", choose);
        seen.insert(order);
        return steps;
      },
      kNoLimit);
}

TEST(ExplorerTest, FindsEveryOrderOfStepsUnderOneLock) {
  std::set<std::string> seen;
  CountOrders(2, 4, seen);
  EXPECT_EQ(seen.size(), 70u);  // 8 over 4
}

TEST(ExplorerTest, FindsEveryOrderOfThreeThreads) {
  std::set<std::string> seen;
  CountOrders(3, 2, seen);
  EXPECT_EQ(seen.size(), 90u);  // 6! / (2! 2! 2!)
}

TEST(ExplorerTest, RunsOrdersThatCommuteOnce) {
  const uint64_t count = ExploreAll(
      [&](const Chooser& choose) {
        Mutex mutexes[2];
        const auto work = [](Mutex& mutex) {
          for (int i = 0; i < 5; ++i) MutexLock lock(mutex);
        };
        return RunThreads(
            {[&] { work(mutexes[0]); }, [&] { work(mutexes[1]); }}, "apart",
            choose);
      },
      kNoLimit);
  EXPECT_EQ(count, 1u);
}

TEST(ExplorerTest, FindsALostUpdateOfAnAtomic) {
  std::set<int> sums;
  ExploreAll(
      [&](const Chooser& choose) {
        std::atomic<int> sum{0};
        const auto add = [&] {
          const int old = sum.load();
          Pause();
          sum.store(old + 1);
        };
        std::vector<Step> steps = RunThreads({add, add}, "sum", choose);
        sums.insert(sum.load());
        return steps;
      },
      kNoLimit);
  EXPECT_EQ(sums, (std::set<int>{1, 2}));
}

TEST(ExplorerTest, FindsBothEndsOfACondition) {
  std::set<std::string> seen;
  ExploreAll(
      [&](const Chooser& choose) {
        Mutex mutex;
        CondVar changed;
        bool ready = false;
        std::string how = "at once";
        std::vector<Step> steps = RunThreads({[&] {
                                                MutexLock lock(mutex);
                                                while (!ready) {
                                                  how = "waited";
                                                  changed.Wait(mutex);
                                                }
                                              },
                                              [&] {
                                                MutexLock lock(mutex);
                                                ready = true;
                                                changed.NotifyAll();
                                              }},
                                             "condition", choose);
        seen.insert(how);
        return steps;
      },
      kNoLimit);
  EXPECT_EQ(seen, (std::set<std::string>{"at once", "waited"}));
}

TEST(ExplorerDeathTest, ADeadlockIsPrinted) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const auto explore = [] {
    ExploreAll(
        [&](const Chooser& choose) {
          Mutex a;
          Mutex b;
          const auto take_both = [](Mutex& first, Mutex& second) {
            MutexLock one(first);
            MutexLock two(second);
          };
          return RunThreads(
              {[&] { take_both(a, b); }, [&] { take_both(b, a); }}, "crossed",
              choose);
        },
        kNoLimit);
  };
  EXPECT_DEATH(explore(), "deadlock: replay with FLATCOW_ORDER=crossed:[01]+");
}

}  // namespace
}  // namespace flatcow::order
