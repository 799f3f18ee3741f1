// SPDX-License-Identifier: Apache-2.0
#include "image/io_gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace flatcow {
namespace {

TEST(IoGateTest, ManyAreInsideAtOnce) {
  IoGate gate;
  {
    IoGate::Shared here(gate);
    std::thread([&] { IoGate::Shared beside(gate); }).join();
  }
  IoGate::Exclusive alone(gate);
}

TEST(IoGateTest, OneAloneWaitsUntilTheOthersHaveLeft) {
  IoGate gate;
  std::atomic<bool> alone{false};
  std::atomic<bool> left{false};
  std::thread other;
  {
    IoGate::Shared inside(gate);
    other = std::thread([&] {
      IoGate::Exclusive exclusive(gate);
      EXPECT_TRUE(left);
      alone = true;
    });
    EXPECT_FALSE(alone);
    left = true;
  }
  other.join();
  EXPECT_TRUE(alone);
}

TEST(IoGateTest, OthersWaitForTheOneAlone) {
  IoGate gate;
  std::atomic<bool> left{false};
  std::vector<std::thread> others;
  {
    IoGate::Exclusive alone(gate);
    for (int i = 0; i < 4; ++i) {
      others.emplace_back([&] {
        IoGate::Shared inside(gate);
        EXPECT_TRUE(left);
      });
    }
    left = true;
  }
  for (std::thread& other : others) other.join();
}

// More threads than the gate has lanes.
TEST(IoGateTest, AloneMeansAlone) {
  IoGate gate;
  std::atomic<int> inside{0};
  std::atomic<int> wrong{0};
  // Plain: TSan sees a reader beside a writer.
  int changed_alone = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 24; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 300; ++i) {
        if (thread < 2) {
          IoGate::Exclusive alone(gate);
          if (inside != 0) ++wrong;
          ++changed_alone;
          std::this_thread::yield();
          if (inside != 0) ++wrong;
        } else {
          IoGate::Shared shared(gate);
          ++inside;
          if (changed_alone < 0) ++wrong;
          std::this_thread::yield();
          --inside;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(changed_alone, 600);
}

}  // namespace
}  // namespace flatcow
