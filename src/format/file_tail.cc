// SPDX-License-Identifier: Apache-2.0
#include "format/file_tail.h"

#include <algorithm>

#include "base/status_macros.h"

namespace flatcow {

absl::StatusOr<uint64_t> FileTail::Extend(uint64_t length) {
  MutexLock lock(mutex_);
  return ExtendLocked(length);
}

absl::StatusOr<uint64_t> FileTail::ExtendLocked(uint64_t length) {
  const uint64_t begin = allocation_end_;
  RETURN_IF_ERROR(file_.Truncate(begin + length));
  allocation_end_ = begin + length;
  end_.store(allocation_end_, std::memory_order_release);
  return begin;
}

absl::StatusOr<FileTail::Space> FileTail::Take(uint64_t length) {
  MutexLock lock(mutex_);
  if (returned_.empty()) {
    ASSIGN_OR_RETURN(const uint64_t begin, ExtendLocked(length));
    return Space{.extent = {begin, length}, .reads_zero = true};
  }
  Extent& space = returned_.back();
  const Extent taken{space.offset, std::min(length, space.length)};
  space.offset += taken.length;
  space.length -= taken.length;
  if (space.length == 0) returned_.pop_back();
  return Space{.extent = taken, .reads_zero = false};
}

void FileTail::GiveBack(Extent space) {
  MutexLock lock(mutex_);
  returned_.push_back(space);
  while (true) {
    const uint64_t old_end = allocation_end_;
    const auto last =
        std::find_if(returned_.begin(), returned_.end(),
                     [&](const Extent& e) { return e.end() == old_end; });
    if (last == returned_.end()) return;
    const uint64_t end = last->offset;
    // Before the file shrinks: no reader may take it for longer than it is.
    end_.store(end, std::memory_order_release);
    if (!file_.Truncate(end).ok()) {
      end_.store(old_end, std::memory_order_release);
      return;
    }
    allocation_end_ = end;
    returned_.erase(last);
  }
}

}  // namespace flatcow
