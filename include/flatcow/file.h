// SPDX-License-Identifier: Apache-2.0
//
// The seam between flatcow and the host's files. Everything the library does
// to a file goes through these two classes, so that tests can record it, fail
// it, or drop what was never synced.
#ifndef FLATCOW_FILE_H_
#define FLATCOW_FILE_H_

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "flatcow/extent.h"

namespace flatcow {

// Names a file whatever path led to it.
struct FileId {
  uint64_t device = 0;
  uint64_t inode = 0;

  friend bool operator==(const FileId&, const FileId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const FileId& id) {
    return H::combine(std::move(h), id.device, id.inode);
  }
};

struct FileStat {
  FileId id;
  mode_t mode = 0;  // type and permission bits, as stat(2)
  uid_t uid = 0;
  gid_t gid = 0;
  uint64_t size = 0;             // bytes; a block device's own size
  uint64_t allocated_bytes = 0;  // what the file occupies on the host
  int64_t mtime_ns = 0;          // since the epoch
  int64_t ctime_ns = 0;
};

enum class Access { kReadOnly, kReadWrite };

// How a host may copy from file to file.
enum class HostCopy {
  kShareBlocks,  // both files refer to the same blocks until one is written
  kAny,          // that, or else inside the kernel
};

// An open file. All methods are thread-safe. Errors carry the errno of the
// system call and name the file, the operation and the offset.
class File {
 public:
  explicit File(std::string path) : path_(std::move(path)) {}
  virtual ~File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // Absolute, with all links resolved when the file was opened.
  const std::string& path() const { return path_; }

  virtual absl::StatusOr<FileStat> Stat() const = 0;

  // Reads until `buffer` is full or the file ends.
  // Return values: bytes read; less than buffer.size() only at the end.
  virtual absl::StatusOr<size_t> Read(uint64_t offset,
                                      absl::Span<uint8_t> buffer) const = 0;

  // As Read(), but stops where it would have to wait for a disk, as far as the
  // host can tell.
  virtual absl::StatusOr<size_t> ReadCached(uint64_t offset,
                                            absl::Span<uint8_t> buffer) const {
    return Read(offset, buffer);
  }

  // A hint that the extent will be read soon: the host may begin to fetch it.
  virtual void WillNeed(Extent) const {}

  // Writes all the pieces one behind the other, extending the file if needed.
  // On failure any part of the range may have been written.
  virtual absl::Status Write(uint64_t offset,
                             absl::Span<const iovec> pieces) = 0;

  // Makes the extent hold what `source` holds from `source_offset` on, without
  // taking the bytes through this process. Extends the file if needed.
  // Return values: bytes done from the start of the extent, fewer than asked
  // for where the host can't: the rest is to be read and written.
  virtual absl::StatusOr<uint64_t> CopyFrom(const File& /*source*/,
                                            uint64_t /*source_offset*/,
                                            Extent /*extent*/, HostCopy) {
    return 0;
  }

  // Returns when all writes that completed before are durable (fdatasync).
  // After a failure what was written since the last success may be lost, and
  // calling it again proves nothing.
  virtual absl::Status Sync() = 0;

  // After a failed Sync(): nothing is lost that was not lost before, and
  // another may make all of it durable. Never so for a file of the host.
  virtual bool SyncMayBeTriedAgain() const { return false; }

  // Sets the length; new bytes read as zero.
  virtual absl::Status Truncate(uint64_t size) = 0;

  // Reserves host space for the extent; never changes bytes, extends the file
  // when the extent goes past its end. OK where the file system has no
  // reservation.
  virtual absl::Status Allocate(Extent extent) = 0;

  // Zeroes exactly the extent, freeing host space where the file system can.
  // Never changes the file's length. Precondition: extent within the file.
  virtual absl::Status Zero(Extent extent) = 0;

  // The first byte at or behind `offset` that is data (a hole).
  // Return values: SeekData: the file's length when no data follows; SeekHole:
  // the length when the rest is data. A file system that keeps no holes: all
  // is data.
  virtual absl::StatusOr<uint64_t> SeekData(uint64_t offset) const = 0;
  virtual absl::StatusOr<uint64_t> SeekHole(uint64_t offset) const = 0;

  // The host's descriptor, for handing the file to the kernel; it stays this
  // object's. -1: it has none.
  virtual int Descriptor() const { return -1; }

  // False for one that has no name and is gone with the process, at the latest.
  // Nobody gains by its bytes being durable: Sync() waits for no disk, and
  // tells of writes that went wrong behind the writer's back.
  virtual bool OutlivesProcess() const { return true; }

  // False for one whose bytes are worked out when they are read, as those of
  // compressed clusters: an offset in it means nothing to others.
  virtual bool IsHostFile() const { return true; }

  // The same file, opened again (by descriptor, not by name).
  virtual absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const = 0;

  // Byte locks that belong to this open file (F_OFD_SETLK, always F_RDLCK).
  // LockByte never conflicts with other read locks. IsByteLocked: does any
  // other open file hold the byte. Errors: ENOLCK, EOPNOTSUPP or EINVAL where
  // the file system has no locks.
  virtual absl::Status LockByte(uint64_t offset) = 0;
  virtual absl::Status UnlockByte(uint64_t offset) = 0;
  virtual absl::StatusOr<bool> IsByteLocked(uint64_t offset) const = 0;

 private:
  const std::string path_;
};

// Opens files by name. Thread-safe.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // Opens an existing regular file or block device; any other type fails with
  // EACCES (and is never opened: a FIFO would hang). Links are followed.
  virtual absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                                     Access access) = 0;

  // Makes a new empty file, open for reading and writing, with mode 0666 less
  // the umask. Fails with EEXIST when the name is taken, a dangling link
  // included.
  virtual absl::StatusOr<std::unique_ptr<File>> Create(
      const std::string& path) = 0;

  virtual absl::Status Remove(const std::string& path) = 0;

  // Makes a new empty file in the directory, open for reading and writing, that
  // has no name: it takes space until it is closed, however the process ends.
  // Errors: those of Create().
  virtual absl::StatusOr<std::unique_ptr<File>> CreateUnnamed(
      const std::string& directory);

  // Puts the file `from` in the place of `to`, in one step that a crash leaves
  // done or not done, and that is durable on return. `from` gets the mode and
  // the owner of `to` as far as this process may give them. What is open stays
  // open; locks stay with their files. Both names are in one directory, and
  // neither is a link. Errors: where the step was done, but is not known to be
  // durable, `from` is gone.
  virtual absl::Status Replace(const std::string& from,
                               const std::string& to) = 0;

  // Attributes of the file that Open() would open, by the same rules.
  virtual absl::StatusOr<FileStat> Stat(const std::string& path) = 0;
};

// The process's own files. Lives as long as the process.
FileSystem& PosixFileSystem();

}  // namespace flatcow

#endif  // FLATCOW_FILE_H_
