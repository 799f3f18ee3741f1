// SPDX-License-Identifier: Apache-2.0
#include "image/range_lock.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "image/sharded_range_lock.h"
#include "model/disk_model.h"

namespace flatcow {
namespace {

// A thread that waited for itself would never end.
template <typename Lock>
class RangeLockTest : public testing::Test {};

using Locks = testing::Types<RangeLock, ShardedRangeLock>;
TYPED_TEST_SUITE(RangeLockTest, Locks);

TYPED_TEST(RangeLockTest, RangesApartDoNotWait) {
  TypeParam lock;
  const typename TypeParam::Hold a(lock, {0, 10});
  const typename TypeParam::Hold b(lock, {10, 10});
  const typename TypeParam::Hold c(lock, {~uint64_t{0} - 10, 10});
  const typename TypeParam::Hold empty(lock, {5, 0});
}

TYPED_TEST(RangeLockTest, ReleasedInAnyOrder) {
  TypeParam lock;
  auto a = std::make_unique<typename TypeParam::Hold>(lock, Extent{0, 10});
  auto b = std::make_unique<typename TypeParam::Hold>(lock, Extent{10, 10});
  auto c = std::make_unique<typename TypeParam::Hold>(lock, Extent{20, 10});
  b.reset();
  const typename TypeParam::Hold again(lock, {12, 5});
  a.reset();
  c.reset();
  const typename TypeParam::Hold first(lock, {0, 12});
  const typename TypeParam::Hold last(lock, {17, 100});
}

TYPED_TEST(RangeLockTest, AnOverlapWaitsForTheHolder) {
  TypeParam lock;
  std::atomic<bool> held{false};
  std::atomic<bool> released{false};
  std::thread other;
  {
    const typename TypeParam::Hold hold(lock, {0, 10});
    other = std::thread([&] {
      const typename TypeParam::Hold waits(lock, {9, 1});
      held = true;
      EXPECT_TRUE(released);
    });
    EXPECT_FALSE(held);
    released = true;
  }
  other.join();
  EXPECT_TRUE(held);
}

TYPED_TEST(RangeLockTest, NobodySharesAUnit) {
  constexpr uint64_t kUnits = 40;
  const uint64_t seed = SeedFor(0);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  TypeParam lock;
  // Plain ints: TSan sees it too when two threads are in the same unit.
  std::array<int, kUnits> users{};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&, thread] {
      std::mt19937_64 random(seed + thread);
      for (int i = 0; i < 2000; ++i) {
        const uint64_t begin = random() % kUnits;
        const uint64_t most = random() % 8 == 0 ? kUnits - begin : 1;
        const uint64_t end = begin + 1 + random() % most;
        const typename TypeParam::Hold hold(lock, {begin, end - begin});
        for (uint64_t at = begin; at < end; ++at) {
          if (++users[at] != 1) ++wrong;
        }
        std::this_thread::yield();
        for (uint64_t at = begin; at < end; ++at) --users[at];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace flatcow
