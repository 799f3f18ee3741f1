// SPDX-License-Identifier: Apache-2.0
//
// A counter that many threads add to all the time and that is seldom read: each
// thread has a cache line of it, which it shares with few others.
#ifndef FLATCOW_BASE_STRIPED_COUNTER_H_
#define FLATCOW_BASE_STRIPED_COUNTER_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace flatcow {

// Thread-safe.
class StripedCounter {
 public:
  void Add(uint64_t count) {
    stripes_[StripeOfThread()].count.fetch_add(count,
                                               std::memory_order_relaxed);
  }

  uint64_t Sum() const {
    uint64_t sum = 0;
    for (const Stripe& stripe : stripes_) {
      sum += stripe.count.load(std::memory_order_relaxed);
    }
    return sum;
  }

 private:
  static constexpr size_t kStripes = 16;

  struct alignas(64) Stripe {
    std::atomic<uint64_t> count{0};
  };

  static size_t StripeOfThread() {
    static std::atomic<size_t> next{0};
    thread_local size_t number = 0;  // from 1 on
    if (number == 0) {
      number = next.fetch_add(1, std::memory_order_relaxed) % kStripes + 1;
    }
    return number - 1;
  }

  std::array<Stripe, kStripes> stripes_;
};

}  // namespace flatcow

#endif  // FLATCOW_BASE_STRIPED_COUNTER_H_
