// SPDX-License-Identifier: Apache-2.0
#include "image/flush_rounds.h"

namespace flatcow {

void FlushRounds::Join(absl::FunctionRef<void()> round) {
  uint64_t mine = 0;
  {
    MutexLock lock(mutex_);
    mine = begun_count_ + 1;
    while (ended_count_ < mine && begun_count_ != ended_count_) {
      ended_.Wait(mutex_);
    }
    if (ended_count_ >= mine) return;
    ++begun_count_;
  }
  round();
  MutexLock lock(mutex_);
  ++ended_count_;
  ended_.NotifyAll();
}

}  // namespace flatcow
