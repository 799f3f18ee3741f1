// SPDX-License-Identifier: Apache-2.0
//
// Files that live in memory, with real holes, hard links and byte locks.
//
//   MemoryFileSystem files;
//   files.SetContents("/base.raw", std::string(65536, 'b'));
//   auto file = *files.Open("/base.raw", Access::kReadWrite);
//
// There are no directories: a path is just a name, made absolute and freed of
// ".", ".." and "//". Holes have a granularity of 4 KiB. Thread-safe.
#ifndef FLATCOW_TEST_SUPPORT_MEMORY_FILE_SYSTEM_H_
#define FLATCOW_TEST_SUPPORT_MEMORY_FILE_SYSTEM_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "flatcow/file.h"

namespace flatcow {

struct MemoryInode;

class MemoryFileSystem final : public FileSystem {
 public:
  static constexpr uint64_t kPageBytes = 4096;

  MemoryFileSystem();
  ~MemoryFileSystem() override;

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             Access access) override;
  absl::StatusOr<std::unique_ptr<File>> Create(
      const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status Replace(const std::string& from, const std::string& to) override;
  absl::StatusOr<FileStat> Stat(const std::string& path) override;

  // A copy: names, hard links, contents, read-only marks and inode numbers, but
  // no byte locks. Files open here stay here. Pages are shared until one of the
  // two changes, so it is cheap.
  std::unique_ptr<MemoryFileSystem> Snapshot() const;

  // A hash of names, sizes and bytes, the same for the same in this process.
  uint64_t Fingerprint() const;

  // What a test asks of a file must exist: the rest of this class ends the
  // process, with a message, where it does not.

  bool Exists(absl::string_view path) const;
  // All names, sorted; links too.
  std::vector<std::string> Paths() const;
  std::string Contents(absl::string_view path) const;
  // Replaces the bytes of an existing file (seen by all who have it open) or
  // makes one. Pages that are all zero become holes.
  void SetContents(absl::string_view path, absl::string_view contents);
  // Makes `path` a second name of the file `existing`.
  void Link(absl::string_view existing, absl::string_view path);
  // `target` may be relative to the link's directory, and need not exist.
  void Symlink(absl::string_view target, absl::string_view path);
  // Open() and Reopen() for writing fail with EACCES from now on.
  void SetReadOnly(absl::string_view path, bool read_only = true);
  // The file is as `mode` says, a FIFO for example: Open() fails with EACCES.
  void SetMode(absl::string_view path, mode_t mode);

 private:
  struct Name {
    std::shared_ptr<MemoryInode> inode;  // null for a symbolic link
    std::string target;
  };

  // Follows links. Return values: the inode and its name; ENOENT, ELOOP.
  absl::StatusOr<std::pair<std::string, std::shared_ptr<MemoryInode>>> Find(
      absl::string_view path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<MemoryInode> MustFind(absl::string_view path) const;
  std::shared_ptr<MemoryInode> NewInode() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Taken before an inode's own.
  mutable Mutex mutex_;
  std::map<std::string, Name> names_ ABSL_GUARDED_BY(mutex_);
  uint64_t last_inode_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_SUPPORT_MEMORY_FILE_SYSTEM_H_
