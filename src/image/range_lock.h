// SPDX-License-Identifier: Apache-2.0
//
// Exclusive locks on ranges of one disk, granted in the order they were asked
// for: ranges that do not overlap never wait for each other.
#ifndef FLATCOW_IMAGE_RANGE_LOCK_H_
#define FLATCOW_IMAGE_RANGE_LOCK_H_

#include "absl/base/thread_annotations.h"
#include "base/checked_math.h"
#include "base/mutex.h"
#include "flatcow/extent.h"

namespace flatcow {

class RangeLock {
 public:
  // Holds `range` from the end of the constructor to the destructor. Lives on
  // the stack; the lock outlives it.
  class Hold {
   public:
    Hold(RangeLock& lock, Extent range) : lock_(lock), range_(range) {
      MutexLock guard(lock_.mutex_);
      previous_ = lock_.last_;
      (previous_ != nullptr ? previous_->next_ : lock_.first_) = this;
      lock_.last_ = this;
      while (MustWait()) lock_.released_.Wait(lock_.mutex_);
    }

    ~Hold() {
      MutexLock guard(lock_.mutex_);
      (previous_ != nullptr ? previous_->next_ : lock_.first_) = next_;
      (next_ != nullptr ? next_->previous_ : lock_.last_) = previous_;
      if (next_ != nullptr) lock_.released_.NotifyAll();
    }

    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    // Whoever asked earlier goes first, whether he holds or waits.
    bool MustWait() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_.mutex_) {
      for (const Hold* hold = previous_; hold != nullptr;
           hold = hold->previous_) {
        if (Overlaps(hold->range_.offset, hold->range_.length, range_.offset,
                     range_.length)) {
          return true;
        }
      }
      return false;
    }

    RangeLock& lock_;
    const Extent range_;
    Hold* previous_ ABSL_GUARDED_BY(lock_.mutex_) = nullptr;
    Hold* next_ ABSL_GUARDED_BY(lock_.mutex_) = nullptr;
  };

 private:
  Mutex mutex_;
  CondVar released_;
  // In the order of asking.
  Hold* first_ ABSL_GUARDED_BY(mutex_) = nullptr;
  Hold* last_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_RANGE_LOCK_H_
