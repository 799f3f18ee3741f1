// SPDX-License-Identifier: Apache-2.0
//
// Stands in for src/base/mutex.h where order/ compiles the library: the same
// classes, whose threads the scheduler lets run one at a time.
#ifndef FLATCOW_BASE_MUTEX_H_
#define FLATCOW_BASE_MUTEX_H_

#include "absl/base/thread_annotations.h"
#include "order/scheduler.h"

namespace flatcow {

class ABSL_LOCKABLE Mutex {
 public:
  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { order::Lock(held_); }
  void unlock() ABSL_UNLOCK_FUNCTION() { order::Unlock(held_); }

 private:
  friend class CondVar;

  bool held_ = false;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex)
      : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

class CondVar {
 public:
  void Wait(Mutex& mutex) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    order::Wait(this, mutex.held_);
  }
  void NotifyOne() { order::Notify(this); }
  void NotifyAll() { order::Notify(this); }
};

}  // namespace flatcow

#endif  // FLATCOW_BASE_MUTEX_H_
