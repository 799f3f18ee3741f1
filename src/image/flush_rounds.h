// SPDX-License-Identifier: Apache-2.0
//
// Joins flushes: one round runs at a time, and whoever comes while it runs
// waits for the next, which all that came share. (The round under way may have
// copied its metadata before the caller's write was published.)
#ifndef FLATCOW_IMAGE_FLUSH_ROUNDS_H_
#define FLATCOW_IMAGE_FLUSH_ROUNDS_H_

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "base/mutex.h"

namespace flatcow {

class FlushRounds {
 public:
  // Returns once a round that began after the call has ended, with what the
  // last one returned. `round` runs in one of the threads that wait for it.
  absl::Status Join(absl::FunctionRef<absl::Status()> round);

 private:
  Mutex mutex_;
  CondVar ended_;
  uint64_t begun_count_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t ended_count_ ABSL_GUARDED_BY(mutex_) = 0;
  // Of the last round; 0 for OK.
  int error_number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string message_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_FLUSH_ROUNDS_H_
