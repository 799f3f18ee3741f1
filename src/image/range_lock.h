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
      lock_.Acquire(*this);
    }
    ~Hold() { lock_.Release(*this); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    friend class RangeLock;

    RangeLock& lock_;
    const Extent range_;
    // Neighbours in the queue; guarded by the lock's mutex.
    Hold* previous_ = nullptr;
    Hold* next_ = nullptr;
  };

 private:
  void Acquire(Hold& hold) {
    MutexLock guard(mutex_);
    hold.previous_ = last_;
    (last_ != nullptr ? last_->next_ : first_) = &hold;
    last_ = &hold;
    while (MustWait(hold)) released_.Wait(mutex_);
  }

  void Release(Hold& hold) {
    MutexLock guard(mutex_);
    (hold.previous_ != nullptr ? hold.previous_->next_ : first_) = hold.next_;
    (hold.next_ != nullptr ? hold.next_->previous_ : last_) = hold.previous_;
    if (hold.next_ != nullptr) released_.NotifyAll();
  }

  // Whoever asked earlier goes first, whether he holds or waits.
  bool MustWait(const Hold& hold) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const Hold* earlier = hold.previous_; earlier != nullptr;
         earlier = earlier->previous_) {
      if (Overlaps(earlier->range_.offset, earlier->range_.length,
                   hold.range_.offset, hold.range_.length)) {
        return true;
      }
    }
    return false;
  }

  Mutex mutex_;
  CondVar released_;
  // In the order of asking.
  Hold* first_ ABSL_GUARDED_BY(mutex_) = nullptr;
  Hold* last_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_RANGE_LOCK_H_
