// SPDX-License-Identifier: Apache-2.0
//
// Knows what of a file is on its disk, as opposed to in the page cache, and
// does what Linux does when a sync fails: the pages that were to be written
// become clean, and each of them may or may not be on the disk.
//
//   MemoryFileSystem memory;
//   FaultInjectionFileSystem faults(memory);
//   PageCacheFileSystem files(faults, memory, seed);
//
// After a failed Sync() a page that was written since the last one that worked
// reads as it was then, or as it was written: some of them, all or none, as
// `seed` says. The file keeps its length. That is what a process sees that
// drops the cache after a failed fsync (PosixFile does), so that it reads what
// a later power cut will leave.
#ifndef FLATCOW_TEST_SUPPORT_PAGE_CACHE_FILE_SYSTEM_H_
#define FLATCOW_TEST_SUPPORT_PAGE_CACHE_FILE_SYSTEM_H_

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "flatcow/file.h"
#include "support/memory_file_system.h"

namespace flatcow {

class PageCacheFileSystem final : public FileSystem {
 public:
  // `files` passes what it lets through on to `memory`; both outlive this, and
  // this the files it opens. What `memory` holds at first is on disk.
  PageCacheFileSystem(FileSystem& files, MemoryFileSystem& memory,
                      uint64_t seed);
  ~PageCacheFileSystem() override;

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             Access access) override;
  absl::StatusOr<std::unique_ptr<File>> Create(
      const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status Replace(const std::string& from, const std::string& to) override;
  absl::StatusOr<FileStat> Stat(const std::string& path) override;

  // A power cut at its worst: every file becomes what its last successful sync
  // has made durable.
  void LosePower();

 private:
  friend class PageCacheFile;

  void Remember(const std::string& path);
  void SyncWorked(const std::string& path);
  void SyncFailed(const std::string& path);

  FileSystem& files_;
  MemoryFileSystem& memory_;

  Mutex mutex_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> on_disk_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_SUPPORT_PAGE_CACHE_FILE_SYSTEM_H_
