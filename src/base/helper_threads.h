// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_BASE_HELPER_THREADS_H_
#define FLATCOW_BASE_HELPER_THREADS_H_

#include <cstddef>
#include <list>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "base/mutex.h"

namespace flatcow {

// Threads of the process that take a share of work that is long for a
// processor: one for each processor but the caller's. They are started when
// they are first needed, and stay. Thread-safe.
class HelperThreads {
 public:
  static HelperThreads& Get();

  // Calls work(0) to work(count - 1), in any order, from this thread and those
  // that have time. Returns when all are done. What is to be done by others
  // meanwhile must not wait for the caller.
  void Run(size_t count, absl::FunctionRef<void(size_t index)> work);

 private:
  struct Job {
    absl::FunctionRef<void(size_t index)> work;
    size_t count = 0;
    size_t next = 0;
    size_t running = 0;
  };

  HelperThreads() = default;

  void Start() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HelpForever();
  // Does one share of the job, which has one.
  void DoOne(Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  CondVar work_arrived_;
  CondVar share_done_;
  std::list<Job*> jobs_ ABSL_GUARDED_BY(mutex_);  // with shares nobody took
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace flatcow

#endif  // FLATCOW_BASE_HELPER_THREADS_H_
