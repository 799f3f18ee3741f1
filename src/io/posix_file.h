// SPDX-License-Identifier: Apache-2.0
//
// A File over a descriptor, and the way from a descriptor that only names a
// file (O_PATH) to one that reads and writes it.
//
//   UniqueFd location(open(name, O_PATH | O_CLOEXEC));
//   ASSIGN_OR_RETURN(auto file, OpenLocation(
//       location.get(), path, Access::kReadOnly));
//
// A name is looked up once, the result is examined, and what was examined is
// what gets opened: nothing can be exchanged in between.
#ifndef FLATCOW_IO_POSIX_FILE_H_
#define FLATCOW_IO_POSIX_FILE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "flatcow/extent.h"
#include "flatcow/file.h"
#include "io/unique_fd.h"

namespace flatcow {

// Interrupted and short system calls are resumed. Offsets and ends of 2^63 and
// more fail with EFBIG before any system call.
class PosixFile final : public File {
 public:
  // `path` must be absolute and resolved; `fd` open on a regular file or, with
  // `is_block_device`, on a block device.
  PosixFile(std::string path, UniqueFd fd, bool is_block_device);

  int Descriptor() const override { return fd_.get(); }
  absl::StatusOr<FileStat> Stat() const override;
  absl::StatusOr<size_t> Read(uint64_t offset,
                              absl::Span<uint8_t> buffer) const override;
  absl::StatusOr<size_t> ReadCached(uint64_t offset,
                                    absl::Span<uint8_t> buffer) const override;
  void WillNeed(Extent extent) const override;
  absl::Status Write(uint64_t offset, absl::Span<const iovec> pieces) override;
  absl::StatusOr<uint64_t> CopyFrom(const File& source, uint64_t source_offset,
                                    Extent extent, HostCopy how) override;
  absl::Status Sync() override;
  absl::Status Truncate(uint64_t size) override;
  // Where the file system has no reservation nothing happens, the length stays.
  absl::Status Allocate(Extent extent) override;
  absl::Status Zero(Extent extent) override;
  absl::StatusOr<uint64_t> SeekData(uint64_t offset) const override;
  absl::StatusOr<uint64_t> SeekHole(uint64_t offset) const override;
  absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const override;
  absl::Status LockByte(uint64_t offset) override;
  absl::Status UnlockByte(uint64_t offset) override;
  absl::StatusOr<bool> IsByteLocked(uint64_t offset) const override;

 private:
  absl::Status Error(int error_number, absl::string_view operation,
                     uint64_t offset, uint64_t length) const;
  absl::Status CheckRange(absl::string_view operation, uint64_t offset,
                          uint64_t length) const;
  // Writes at most IOV_MAX pieces.
  absl::Status WriteBatch(uint64_t offset, absl::Span<const iovec> batch);
  absl::Status WriteZeroes(Extent extent);
  // The part of CopyFrom() that shares blocks: bytes done.
  absl::StatusOr<uint64_t> ShareFrom(int source, uint64_t source_offset,
                                     Extent extent);
  absl::StatusOr<uint64_t> Seek(absl::string_view operation, int whence,
                                uint64_t offset) const;
  absl::StatusOr<uint64_t> Size() const;
  absl::Status SetLock(absl::string_view operation, uint64_t offset,
                       short type);

  const UniqueFd fd_;
  mutable std::atomic<bool> tells_waits_{true};  // RWF_NOWAIT works
  const bool is_block_device_;
};

// Where the file behind `fd` is now: absolute, all links resolved. A file that
// has been removed ends in " (deleted)".
absl::StatusOr<std::string> DescriptorPath(int fd);

// Opens the file that `location`, a descriptor of any kind, stands for.
// Errors: EACCES for anything but a regular file or block device; those of
// open(2). `path` is what messages and File::path() call it.
absl::StatusOr<std::unique_ptr<File>> OpenLocation(int location,
                                                   const std::string& path,
                                                   Access access);

// Attributes of the file that OpenLocation() would open, with its errors. A
// block device is opened for a moment, to learn its size.
absl::StatusOr<FileStat> StatLocation(int location, const std::string& path);

}  // namespace flatcow

#endif  // FLATCOW_IO_POSIX_FILE_H_
