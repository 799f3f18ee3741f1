// SPDX-License-Identifier: Apache-2.0
//
// Space at the end of an image file, in whole clusters: where formats with
// tables allocate. A crash can leak clusters but can't make two things share
// one.
#ifndef FLATCOW_FORMAT_FILE_TAIL_H_
#define FLATCOW_FORMAT_FILE_TAIL_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "base/checked_math.h"
#include "base/mutex.h"
#include "flatcow/extent.h"
#include "flatcow/file.h"

namespace flatcow {

// Thread-safe.
class FileTail {
 public:
  FileTail(File& file, uint64_t file_size, uint64_t cluster_size)
      : file_(file),
        end_(RoundDown(file_size, cluster_size)),
        allocation_end_(RoundUp(file_size, cluster_size)) {}

  // The file's length in whole clusters: the end of what entries may name.
  uint64_t end() const { return end_.load(std::memory_order_acquire); }

  // Makes the file longer. Return values: where the new space begins, which
  // reads as zeroes.
  absl::StatusOr<uint64_t> Extend(uint64_t length);

  struct Space {
    Extent extent;
    bool reads_zero;  // false: its bytes may be anything
  };

  // Space that was given back, at most `length` bytes of it; without any, as
  // Extend().
  absl::StatusOr<Space> Take(uint64_t length);

  // Gives space back that no entry names. At the end of the file it leaves the
  // file, so that what is taken there next reads as zeroes again; what was
  // given back below it follows.
  void GiveBack(Extent space);

 private:
  absl::StatusOr<uint64_t> ExtendLocked(uint64_t length)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  File& file_;
  std::atomic<uint64_t> end_;
  Mutex mutex_;
  uint64_t allocation_end_ ABSL_GUARDED_BY(mutex_);
  std::vector<Extent> returned_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_FILE_TAIL_H_
