// SPDX-License-Identifier: Apache-2.0
//
// What the kernel holds by a number, from OPEN to RELEASE. A RELEASE that is on
// its way when the mount goes never arrives: what is left ends with the table.
//
// Any number of threads may call it at once.
#ifndef FLATCOW_FUSE_OPEN_HANDLES_H_
#define FLATCOW_FUSE_OPEN_HANDLES_H_

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "mutex.h"

namespace flatcow::daemon {

template <typename T>
class OpenHandles {
 public:
  T* Keep(std::unique_ptr<T> handle) {
    T* const result = handle.get();
    const MutexLock lock(mutex_);
    handles_[result] = std::move(handle);
    return result;
  }

  void Drop(T* handle) {
    const MutexLock lock(mutex_);
    handles_.erase(handle);
  }

 private:
  Mutex mutex_;
  absl::flat_hash_map<T*, std::unique_ptr<T>> handles_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_OPEN_HANDLES_H_
