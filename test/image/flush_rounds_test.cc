// SPDX-License-Identifier: Apache-2.0
#include "image/flush_rounds.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <thread>
#include <vector>

#include "flatcow/status.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

TEST(FlushRoundsTest, EachLoneCallRunsItsOwnRound) {
  FlushRounds rounds;
  int count = 0;
  for (int i = 1; i <= 3; ++i) {
    Must(rounds.Join([&] {
      ++count;
      return absl::OkStatus();
    }));
    EXPECT_EQ(count, i);
  }
}

TEST(FlushRoundsTest, ALateCallWaitsForARoundOfItsOwn) {
  FlushRounds rounds;
  std::promise<void> running;
  std::promise<void> go_on;
  std::atomic<int> begun{0};
  std::thread first([&] {
    Must(rounds.Join([&] {
      ++begun;
      running.set_value();
      go_on.get_future().wait();
      return absl::OkStatus();
    }));
  });
  running.get_future().wait();
  std::thread late([&] {
    Must(rounds.Join([&] {
      ++begun;
      return absl::OkStatus();
    }));
    EXPECT_EQ(begun, 2);
  });
  EXPECT_EQ(begun, 1);
  go_on.set_value();
  first.join();
  late.join();
}

TEST(FlushRoundsTest, AFailureIsForAllWhoWaitedForThatRound) {
  FlushRounds rounds;
  std::promise<void> running;
  std::promise<void> go_on;
  std::thread first([&] {
    Must(rounds.Join([&] {
      running.set_value();
      go_on.get_future().wait();
      return absl::OkStatus();
    }));
  });
  running.get_future().wait();
  std::vector<std::thread> late;
  std::atomic<int> rounds_run{0};
  std::atomic<int> failed{0};
  for (int i = 0; i < 4; ++i) {
    late.emplace_back([&] {
      const absl::Status status = rounds.Join([&] {
        ++rounds_run;
        return MakeError(ENOSPC, "full");
      });
      if (ErrnoOf(status) == ENOSPC) ++failed;
    });
  }
  go_on.set_value();
  first.join();
  for (std::thread& thread : late) thread.join();
  EXPECT_GE(rounds_run, 1);
  EXPECT_EQ(failed, 4);
  Must(rounds.Join([] { return absl::OkStatus(); }));
}

// Whatever the timing: one round at a time, and each call sees one that began
// after it was made.
TEST(FlushRoundsTest, EveryCallSeesALaterRound) {
  FlushRounds rounds;
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  std::atomic<int> inside{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 8; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        const int before = begun;
        const absl::Status status = rounds.Join([&] {
          if (++inside != 1) ++wrong;
          ++begun;
          --inside;
          ++ended;
          return absl::OkStatus();
        });
        if (!status.ok() || ended <= before) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(begun, 8 * 500);
}

}  // namespace
}  // namespace flatcow
