// SPDX-License-Identifier: Apache-2.0
#include "io/deferred_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"

namespace flatcow {
namespace {

// Enough for the header of an image.
constexpr uint64_t kMaxKeptBytes = 64 * 1024;

// The kernel gives no device this number.
constexpr uint64_t kNoDevice = std::numeric_limits<uint64_t>::max();

FileId NextId() {
  static std::atomic<uint64_t> count{0};
  return {kNoDevice, count.fetch_add(1)};
}

// Whether a page that was written to the file has been lost since the last
// call. Waiting for writes of one byte behind all data waits for nothing, and
// then the kernel tells of errors in the whole file.
absl::Status CheckWrittenBack(const File& file) {
  constexpr off64_t kLastByte = std::numeric_limits<int64_t>::max() - 1;
  const int fd = file.Descriptor();
  if (fd < 0) return absl::OkStatus();
  if (sync_file_range(fd, kLastByte, 1, SYNC_FILE_RANGE_WAIT_BEFORE) == 0 ||
      errno == ENOSYS || errno == EINVAL) {
    return absl::OkStatus();
  }
  absl::Status status =
      ErrnoError(errno, absl::StrCat(file.path(), ": write back"));
  // What the disk does not hold is not to be read either.
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  return status;
}

}  // namespace

DeferredContents::DeferredContents(Maker make_file)
    : make_file_(std::move(make_file)), id_(NextId()) {}

absl::StatusOr<File*> DeferredContents::Make() {
  MutexLock lock(mutex_);
  if (file_ != nullptr) return file_.get();
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, make_file_());
  RETURN_IF_ERROR(file->Truncate(size_));
  if (!bytes_.empty()) {
    const iovec piece{bytes_.data(), bytes_.size()};
    RETURN_IF_ERROR(file->Write(0, absl::MakeConstSpan(&piece, 1)));
  }
  file_ = std::move(file);
  made_.store(file_.get(), std::memory_order_release);
  return file_.get();
}

bool DeferredContents::KeepWrite(uint64_t offset,
                                 absl::Span<const iovec> pieces) {
  MutexLock lock(mutex_);
  if (file_ != nullptr) return false;
  uint64_t length = 0;
  for (const iovec& piece : pieces) length += piece.iov_len;
  if (offset > kMaxKeptBytes || length > kMaxKeptBytes - offset) return false;
  if (bytes_.size() < offset + length) bytes_.resize(offset + length, '\0');
  for (const iovec& piece : pieces) {
    if (piece.iov_len == 0) continue;
    std::memcpy(bytes_.data() + offset, piece.iov_base, piece.iov_len);
    offset += piece.iov_len;
  }
  size_ = std::max<uint64_t>(size_, bytes_.size());
  return true;
}

bool DeferredContents::KeepSize(uint64_t size) {
  MutexLock lock(mutex_);
  if (file_ != nullptr) return false;
  if (size < bytes_.size()) bytes_.resize(size);
  size_ = size;
  return true;
}

bool DeferredContents::ReadKept(uint64_t offset, absl::Span<uint8_t> buffer,
                                size_t& done) const {
  MutexLock lock(mutex_);
  if (file_ != nullptr) return false;
  done = 0;
  if (offset >= size_) return true;
  done = static_cast<size_t>(std::min<uint64_t>(buffer.size(), size_ - offset));
  const size_t kept =
      offset < bytes_.size()
          ? std::min<size_t>(done, bytes_.size() - static_cast<size_t>(offset))
          : 0;
  if (kept != 0) std::memcpy(buffer.data(), bytes_.data() + offset, kept);
  std::fill(buffer.begin() + kept, buffer.begin() + done, uint8_t{0});
  return true;
}

bool DeferredContents::LookAtKept(uint64_t& size, uint64_t& data) const {
  MutexLock lock(mutex_);
  if (file_ != nullptr) return false;
  size = size_;
  data = bytes_.size();
  return true;
}

DeferredFile::DeferredFile(std::string path,
                           std::shared_ptr<DeferredContents> contents)
    : File(std::move(path)), contents_(std::move(contents)) {}

absl::StatusOr<FileStat> DeferredFile::Stat() const {
  FileStat stat;
  uint64_t data = 0;
  if (contents_->LookAtKept(stat.size, data)) {
    stat.mode = S_IFREG | 0600;
  } else {
    ASSIGN_OR_RETURN(stat, contents_->made()->Stat());
  }
  stat.id = contents_->id();  // the same before and after
  return stat;
}

absl::StatusOr<size_t> DeferredFile::Read(uint64_t offset,
                                          absl::Span<uint8_t> buffer) const {
  size_t done = 0;
  File* const file = contents_->made();
  if (file == nullptr && contents_->ReadKept(offset, buffer, done)) return done;
  return contents_->made()->Read(offset, buffer);
}

absl::StatusOr<size_t> DeferredFile::ReadCached(
    uint64_t offset, absl::Span<uint8_t> buffer) const {
  const File* const file = contents_->made();
  return file != nullptr ? file->ReadCached(offset, buffer)
                         : Read(offset, buffer);
}

void DeferredFile::WillNeed(Extent extent) const {
  const File* const file = contents_->made();
  if (file != nullptr) file->WillNeed(extent);
}

absl::Status DeferredFile::Write(uint64_t offset,
                                 absl::Span<const iovec> pieces) {
  File* file = contents_->made();
  if (file == nullptr) {
    if (contents_->KeepWrite(offset, pieces)) return absl::OkStatus();
    ASSIGN_OR_RETURN(file, contents_->Make());
  }
  return file->Write(offset, pieces);
}

absl::StatusOr<uint64_t> DeferredFile::CopyFrom(const File& source,
                                                uint64_t source_offset,
                                                Extent extent, HostCopy how) {
  ASSIGN_OR_RETURN(File* const file, contents_->Make());
  return file->CopyFrom(source, source_offset, extent, how);
}

absl::Status DeferredFile::Sync() {
  const File* const file = contents_->made();
  return file != nullptr ? CheckWrittenBack(*file) : absl::OkStatus();
}

absl::Status DeferredFile::Truncate(uint64_t size) {
  if (contents_->KeepSize(size)) return absl::OkStatus();
  return contents_->made()->Truncate(size);
}

absl::Status DeferredFile::Allocate(Extent extent) {
  ASSIGN_OR_RETURN(File* const file, contents_->Make());
  return file->Allocate(extent);
}

absl::Status DeferredFile::Zero(Extent extent) {
  ASSIGN_OR_RETURN(File* const file, contents_->Make());
  return file->Zero(extent);
}

absl::StatusOr<uint64_t> DeferredFile::SeekData(uint64_t offset) const {
  uint64_t size = 0;
  uint64_t data = 0;
  if (!contents_->LookAtKept(size, data)) {
    return contents_->made()->SeekData(offset);
  }
  return offset < data ? offset : size;
}

absl::StatusOr<uint64_t> DeferredFile::SeekHole(uint64_t offset) const {
  uint64_t size = 0;
  uint64_t data = 0;
  if (!contents_->LookAtKept(size, data)) {
    return contents_->made()->SeekHole(offset);
  }
  return std::min(std::max(offset, data), size);
}

int DeferredFile::Descriptor() const {
  const File* const file = contents_->made();
  return file != nullptr ? file->Descriptor() : -1;
}

absl::StatusOr<std::unique_ptr<File>> DeferredFile::Reopen(
    Access access) const {
  if (access == Access::kReadWrite) {
    RETURN_IF_ERROR(contents_->Make().status());
  }
  return std::make_unique<DeferredFile>(path(), contents_);
}

}  // namespace flatcow
