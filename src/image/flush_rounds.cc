// SPDX-License-Identifier: Apache-2.0
#include "image/flush_rounds.h"

#include "flatcow/status.h"

namespace flatcow {

absl::Status FlushRounds::Join(absl::FunctionRef<absl::Status()> round) {
  {
    MutexLock lock(mutex_);
    const uint64_t mine = begun_count_ + 1;
    while (ended_count_ < mine && begun_count_ != ended_count_) {
      ended_.Wait(mutex_);
    }
    if (ended_count_ >= mine) {
      return error_number_ == 0 ? absl::OkStatus()
                                : MakeError(error_number_, message_);
    }
    ++begun_count_;
  }
  absl::Status status = round();
  MutexLock lock(mutex_);
  ++ended_count_;
  error_number_ = ErrnoOf(status);
  message_ = std::string(status.message());
  ended_.NotifyAll();
  return status;
}

}  // namespace flatcow
