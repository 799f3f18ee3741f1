// SPDX-License-Identifier: Apache-2.0
//
// Lets any number of requests through side by side, and now and then one
// operation that must be alone (resize, becoming writable). Passing costs a
// request two atomic operations on a cache line that it seldom shares.
#ifndef FLATCOW_IMAGE_IO_GATE_H_
#define FLATCOW_IMAGE_IO_GATE_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "base/thread_stripe.h"

namespace flatcow {

class IoGate {
 public:
  // Inside the gate for its lifetime, beside others. Not to be nested.
  class Shared {
   public:
    explicit Shared(IoGate& gate) : gate_(gate), lane_(gate.Enter()) {}
    ~Shared() { gate_.Leave(lane_); }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;

   private:
    IoGate& gate_;
    std::atomic<int64_t>& lane_;
  };

  // Alone inside the gate for its lifetime.
  class Exclusive {
   public:
    explicit Exclusive(IoGate& gate) : gate_(gate) { gate_.Close(); }
    ~Exclusive() { gate_.Reopen(); }
    Exclusive(const Exclusive&) = delete;
    Exclusive& operator=(const Exclusive&) = delete;

   private:
    IoGate& gate_;
  };

 private:
  struct alignas(64) Lane {
    std::atomic<int64_t> inside{0};
  };

  // Entering counts itself, then looks whether the gate is closed; closing
  // marks the gate, then counts. One of the two sees the other (all seq_cst).
  std::atomic<int64_t>& Enter() {
    std::atomic<int64_t>& inside = lanes_[ThreadStripe()].inside;
    while (true) {
      inside.fetch_add(1);
      if (!closed_.load()) return inside;
      Leave(inside);
      MutexLock lock(mutex_);
      while (closed_.load()) changed_.Wait(mutex_);
    }
  }

  void Leave(std::atomic<int64_t>& inside) {
    inside.fetch_sub(1);
    if (!closed_.load()) return;
    MutexLock lock(mutex_);
    changed_.NotifyAll();
  }

  void Close() {
    MutexLock lock(mutex_);
    while (closed_.load()) changed_.Wait(mutex_);
    closed_.store(true);
    while (AnyInside()) changed_.Wait(mutex_);
  }

  void Reopen() {
    MutexLock lock(mutex_);
    closed_.store(false);
    changed_.NotifyAll();
  }

  bool AnyInside() const {
    for (const Lane& lane : lanes_) {
      if (lane.inside.load() != 0) return true;
    }
    return false;
  }

  std::array<Lane, kThreadStripes> lanes_;
  std::atomic<bool> closed_{false};  // changes under mutex_
  Mutex mutex_;
  CondVar changed_;
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_IO_GATE_H_
