// SPDX-License-Identifier: Apache-2.0
//
// Joins flushes: one round runs at a time, and whoever comes while it runs
// waits for the next, which all that came share. (The round under way may have
// copied its metadata before the caller's write was published.)
#ifndef FLATCOW_IMAGE_FLUSH_ROUNDS_H_
#define FLATCOW_IMAGE_FLUSH_ROUNDS_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "base/mutex.h"

namespace flatcow {

class FlushRounds {
 public:
  // Returns once a round that began after the call has ended. `round` runs in
  // one of the threads that wait for it; it records its own result.
  void Join(absl::FunctionRef<void()> round);

 private:
  Mutex mutex_;
  CondVar ended_;
  uint64_t begun_count_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t ended_count_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_FLUSH_ROUNDS_H_
