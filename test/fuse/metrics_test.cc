// SPDX-License-Identifier: Apache-2.0
#include "metrics.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"

namespace flatcow::daemon {
namespace {

using std::chrono::nanoseconds;

TEST(MetricsTest, BucketsHoldWhatTookAtMostTheirTime) {
  struct {
    int64_t nanoseconds;
    size_t bucket;
  } const cases[] = {{0, 0},
                     {1000, 0},
                     {1001, 1},
                     {2000, 1},
                     {2001, 2},
                     {4000, 2},
                     {4001, 3},
                     {1'024'000, 10},
                     {1'024'001, 11},
                     {8'388'608'000, 23},
                     {8'388'608'001, 24},
                     {3'600'000'000'000, 24}};
  for (const auto& [time, bucket] : cases) {
    Metrics metrics;
    metrics.CountRequest(Operation::kRead, nanoseconds(time));
    const Metrics::Requests requests = metrics.Of(Operation::kRead);
    EXPECT_EQ(requests.buckets[bucket], 1u) << time;
    EXPECT_EQ(requests.count(), 1u);
    EXPECT_EQ(requests.nanoseconds, static_cast<uint64_t>(time));
    EXPECT_EQ(metrics.Of(Operation::kWrite).count(), 0u);
  }
}

TEST(MetricsTest, AClockThatGoesBackCountsAsNoTime) {
  Metrics metrics;
  metrics.CountRequest(Operation::kOpen, nanoseconds(-5));
  EXPECT_EQ(metrics.Of(Operation::kOpen).buckets[0], 1u);
  EXPECT_EQ(metrics.Of(Operation::kOpen).nanoseconds, 0u);
}

TEST(MetricsTest, ThreadsLoseNothing) {
  constexpr int kThreads = 40;
  constexpr int kTimes = 1000;
  Metrics metrics;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&metrics] {
      for (int j = 0; j < kTimes; ++j) {
        metrics.CountRequest(Operation::kWrite, nanoseconds(3));
        metrics.CountBytesWritten(2);
        metrics.CountBytesRead(1);
        metrics.CountError("view");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(metrics.Of(Operation::kWrite).count(), kThreads * kTimes);
  EXPECT_EQ(metrics.Of(Operation::kWrite).nanoseconds, 3 * kThreads * kTimes);
  EXPECT_EQ(metrics.bytes_written(), 2 * kThreads * kTimes);
  EXPECT_EQ(metrics.bytes_read(), kThreads * kTimes);
  EXPECT_EQ(metrics.Errors().at("view"), kThreads * kTimes);
}

// As daemons in one test program.
TEST(MetricsTest, EachObjectCountsForItself) {
  Metrics first;
  for (int i = 0; i < 3; ++i) {
    Metrics second;
    first.CountBytesRead(1);
    second.CountBytesRead(5);
    first.CountBytesRead(1);
    EXPECT_EQ(second.bytes_read(), 5u);
  }
  EXPECT_EQ(first.bytes_read(), 6u);
}

TEST(MetricsTest, ErrorsOfVeryManyViewsAreCountedTogether) {
  Metrics metrics;
  for (int i = 0; i < 10'000; ++i) metrics.CountError(absl::StrCat("v", i));
  metrics.CountError("v0");
  const auto errors = metrics.Errors();
  EXPECT_EQ(errors.size(), 4097u);
  EXPECT_EQ(errors.at("v0"), 2u);
  EXPECT_EQ(errors.at(""), 10'000u - 4096u);
}

TEST(MetricsTest, EveryOperationHasAName) {
  for (size_t i = 0; i < kOperations; ++i) {
    EXPECT_FALSE(NameOf(static_cast<Operation>(i)).empty()) << i;
  }
}

}  // namespace
}  // namespace flatcow::daemon
