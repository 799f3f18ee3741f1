// SPDX-License-Identifier: Apache-2.0
//
// What one recorded operation does to a disk, in whole sectors.
#ifndef FLATCOW_TEST_CRASH_DISK_CHANGE_H_
#define FLATCOW_TEST_CRASH_DISK_CHANGE_H_

#include <cstdint>
#include <limits>
#include <string>

#include "flatcow/extent.h"
#include "support/memory_file_system.h"
#include "support/recording_file_system.h"

namespace flatcow {

inline constexpr uint64_t kDiskSector = 512;

// Which part of a change has reached the disk: of its data, what lies in
// [from, to) of the file.
struct DiskPart {
  bool data = true;
  bool size = true;
  uint64_t from = 0;
  uint64_t to = std::numeric_limits<uint64_t>::max();
};

class DiskChange {
 public:
  // Does the operation to `page_cache`, and keeps what its sectors hold then.
  DiskChange(const FileOperation& operation, MemoryFileSystem& page_cache);

  void Apply(const DiskPart& part, MemoryFileSystem& disk) const;

  const FileOperation& operation() const { return operation_; }
  const std::string& path() const { return operation_.path; }
  // Of a replace: the name that the file had before. Empty otherwise.
  std::string old_path() const;
  // The file that it changes is called `to` now.
  void Rename(const std::string& to) { operation_.path = to; }
  // The sectors; empty when only names or sizes change.
  Extent sectors() const { return {offset_, data_.size()}; }
  bool extends() const { return extends_; }
  // Without it nothing later is seen of the file.
  bool is_barrier() const { return is_barrier_; }

 private:
  FileOperation operation_;
  uint64_t offset_ = 0;
  std::string data_;
  uint64_t end_ = 0;  // where the file ends at least; exactly for a truncate
  bool extends_ = false;
  bool is_barrier_ = false;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_CRASH_DISK_CHANGE_H_
