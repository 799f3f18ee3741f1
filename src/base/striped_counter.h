// SPDX-License-Identifier: Apache-2.0
//
// A counter that many threads add to all the time and that is seldom read.
#ifndef FLATCOW_BASE_STRIPED_COUNTER_H_
#define FLATCOW_BASE_STRIPED_COUNTER_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "base/thread_stripe.h"

namespace flatcow {

// Thread-safe.
class StripedCounter {
 public:
  void Add(uint64_t count) {
    stripes_[ThreadStripe()].count.fetch_add(count, std::memory_order_relaxed);
  }

  uint64_t Sum() const {
    uint64_t sum = 0;
    for (const Stripe& stripe : stripes_) {
      sum += stripe.count.load(std::memory_order_relaxed);
    }
    return sum;
  }

 private:
  struct alignas(64) Stripe {
    std::atomic<uint64_t> count{0};
  };

  std::array<Stripe, kThreadStripes> stripes_;
};

}  // namespace flatcow

#endif  // FLATCOW_BASE_STRIPED_COUNTER_H_
