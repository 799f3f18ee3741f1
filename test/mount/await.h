// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_MOUNT_AWAIT_H_
#define FLATCOW_TEST_MOUNT_AWAIT_H_

#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <functional>

namespace flatcow {

// Waits, up to a minute, for what comes soon because another thread of the
// daemon has to see it: a change of SOURCE, which ends what the kernel keeps.
inline void Await(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    sched_yield();
  }
}

}  // namespace flatcow

#endif  // FLATCOW_TEST_MOUNT_AWAIT_H_
