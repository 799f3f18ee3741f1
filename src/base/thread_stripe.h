// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_BASE_THREAD_STRIPE_H_
#define FLATCOW_BASE_THREAD_STRIPE_H_

#include <atomic>
#include <cstddef>

namespace flatcow {

// Where many threads count all the time, each in a cache line that it shares
// with few others.
inline constexpr size_t kThreadStripes = 16;

// Below kThreadStripes, and always the same for the calling thread.
inline size_t ThreadStripe() {
  static std::atomic<size_t> next{0};
  thread_local size_t number = 0;  // from 1 on
  if (number == 0) {
    number = next.fetch_add(1, std::memory_order_relaxed) % kThreadStripes + 1;
  }
  return number - 1;
}

}  // namespace flatcow

#endif  // FLATCOW_BASE_THREAD_STRIPE_H_
