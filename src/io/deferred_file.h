// SPDX-License-Identifier: Apache-2.0
//
// A file without a name that is made when it is first opened for writing.
//
//   auto contents = std::make_shared<DeferredContents>(
//       [&files] { return files.CreateUnnamed("/tmp"); });
//   DeferredFile file("scratch", contents);
//   file.Truncate(1 << 30);                  // so far in memory
//   file.Reopen(Access::kReadWrite);         // now there is a file
//
// Until then its length and its first bytes are kept in memory; the rest is
// zeroes. All File objects of one DeferredContents are one file.
#ifndef FLATCOW_IO_DEFERRED_FILE_H_
#define FLATCOW_IO_DEFERRED_FILE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "flatcow/extent.h"
#include "flatcow/file.h"

namespace flatcow {

// Thread-safe.
class DeferredContents {
 public:
  using Maker = std::function<absl::StatusOr<std::unique_ptr<File>>()>;

  // `make_file` returns a new, empty file.
  explicit DeferredContents(Maker make_file);

  // The file, if it is made. It stays as long as this does.
  File* made() const { return made_.load(std::memory_order_acquire); }

  // The file, made if need be. On failure it can be tried again. Errors: those
  // of `make_file`, and of writing to what it returns.
  absl::StatusOr<File*> Make();

  // No file of the host has this one.
  FileId id() const { return id_; }

  // While the file is not made. Return values: false when it is by now, or when
  // that is not for the memory to hold.
  bool KeepWrite(uint64_t offset, absl::Span<const iovec> pieces);
  bool KeepSize(uint64_t size);
  // Copies what is there, and sets `done`.
  bool ReadKept(uint64_t offset, absl::Span<uint8_t> buffer,
                size_t& done) const;
  // The length, and how many bytes from the start may be anything but zero.
  bool LookAtKept(uint64_t& size, uint64_t& data) const;

 private:
  const Maker make_file_;
  const FileId id_;
  mutable Mutex mutex_;
  std::string bytes_ ABSL_GUARDED_BY(mutex_);
  uint64_t size_ ABSL_GUARDED_BY(mutex_) = 0;  // at least that of bytes_
  std::unique_ptr<File> file_ ABSL_GUARDED_BY(mutex_);
  std::atomic<File*> made_{nullptr};
};

// Locks conflict with nobody's, for nobody else can open the file. Reopening
// for reading makes nothing.
class DeferredFile final : public File {
 public:
  DeferredFile(std::string path, std::shared_ptr<DeferredContents> contents);

  absl::StatusOr<FileStat> Stat() const override;
  absl::StatusOr<size_t> Read(uint64_t offset,
                              absl::Span<uint8_t> buffer) const override;
  absl::StatusOr<size_t> ReadCached(uint64_t offset,
                                    absl::Span<uint8_t> buffer) const override;
  void WillNeed(Extent extent) const override;
  absl::Status Write(uint64_t offset, absl::Span<const iovec> pieces) override;
  absl::StatusOr<uint64_t> CopyFrom(const File& source, uint64_t source_offset,
                                    Extent extent, HostCopy how) override;
  // Errors: a write to the file went wrong later, when the host wrote it back.
  absl::Status Sync() override;
  absl::Status Truncate(uint64_t size) override;
  absl::Status Allocate(Extent extent) override;
  absl::Status Zero(Extent extent) override;
  absl::StatusOr<uint64_t> SeekData(uint64_t offset) const override;
  absl::StatusOr<uint64_t> SeekHole(uint64_t offset) const override;
  int Descriptor() const override;
  bool OutlivesProcess() const override { return false; }
  absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const override;
  absl::Status LockByte(uint64_t) override { return absl::OkStatus(); }
  absl::Status UnlockByte(uint64_t) override { return absl::OkStatus(); }
  absl::StatusOr<bool> IsByteLocked(uint64_t) const override { return false; }

 private:
  const std::shared_ptr<DeferredContents> contents_;
};

}  // namespace flatcow

#endif  // FLATCOW_IO_DEFERRED_FILE_H_
