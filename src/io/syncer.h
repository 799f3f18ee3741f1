// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_IO_SYNCER_H_
#define FLATCOW_IO_SYNCER_H_

#include <atomic>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/mutex.h"
#include "flatcow/file.h"

namespace flatcow {

// Makes the files of one image durable, and never forgets a failure: Linux
// marks the pages of a failed fsync clean, so that a second one proves nothing.
// Thread-safe.
class Syncer {
 public:
  absl::Status Sync(File& file) {
    absl::Status status = file.Sync();
    if (!status.ok() && !file.SyncMayBeTriedAgain()) {
      MutexLock lock(mutex_);
      failure_ = std::string(status.message());
      failed_.store(true);
    }
    return status;
  }

  bool failed() const { return failed_.load(); }

  // What failed last. Empty: nothing.
  std::string failure() const {
    MutexLock lock(mutex_);
    return failure_;
  }

 private:
  std::atomic<bool> failed_{false};
  mutable Mutex mutex_;
  std::string failure_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flatcow

#endif  // FLATCOW_IO_SYNCER_H_
