// SPDX-License-Identifier: Apache-2.0
//
// The thread that keeps unsynced metadata from growing old.
#ifndef FLATCOW_FUSE_COMMIT_TIMER_H_
#define FLATCOW_FUSE_COMMIT_TIMER_H_

#include <chrono>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "mutex.h"
#include "open_views.h"

namespace flatcow::daemon {

// From construction to destruction, flushes the open images that need it once
// every `interval`. Their errors are logged, and reported by the next fsync.
class CommitTimer {
 public:
  // `views` outlives this.
  CommitTimer(OpenViews& views, std::chrono::seconds interval);
  ~CommitTimer();

 private:
  void Run();

  OpenViews& views_;
  const std::chrono::seconds interval_;
  Mutex mutex_;
  CondVar changed_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_COMMIT_TIMER_H_
