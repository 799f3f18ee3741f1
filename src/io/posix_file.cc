// SPDX-License-Identifier: Apache-2.0
#include "io/posix_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"

namespace flatcow {
namespace {

constexpr uint64_t kMaxOffset = std::numeric_limits<int64_t>::max();
constexpr size_t kIovMax = IOV_MAX;

// Not const, so that it lies in .bss and not in the binary. Nothing writes it.
constexpr size_t kZeroBytes = 64 * 1024;
alignas(4096) uint8_t g_zeroes[kZeroBytes];
constexpr size_t kZeroPieces = 16;  // 1 MiB per system call

// The first result of `call` that is not an interruption.
template <typename Call>
auto Uninterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// ENODEV: block devices before Linux 4.9.
bool IsUnsupported(int error_number) {
  return error_number == EOPNOTSUPP || error_number == ENOSYS ||
         error_number == ENODEV;
}

// Saturates, and no range check lets that pass.
uint64_t TotalLength(absl::Span<const iovec> pieces) {
  uint64_t length = 0;
  for (const iovec& piece : pieces) {
    length = CheckedAdd(length, piece.iov_len).value_or(UINT64_MAX);
  }
  return length;
}

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

FileStat FromStat(const struct stat& attributes) {
  FileStat result;
  result.id = {attributes.st_dev, attributes.st_ino};
  result.mode = attributes.st_mode;
  result.uid = attributes.st_uid;
  result.gid = attributes.st_gid;
  result.size = static_cast<uint64_t>(attributes.st_size);
  result.allocated_bytes = static_cast<uint64_t>(attributes.st_blocks) * 512;
  result.mtime_ns = Nanoseconds(attributes.st_mtim);
  result.ctime_ns = Nanoseconds(attributes.st_ctim);
  return result;
}

absl::string_view TypeName(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return "a directory";
    case S_IFIFO:
      return "a FIFO";
    case S_IFSOCK:
      return "a socket";
    case S_IFCHR:
      return "a character device";
    case S_IFLNK:
      return "a symbolic link";
    default:
      return "of unknown type";
  }
}

absl::StatusOr<struct stat> Examine(int location, const std::string& path) {
  struct stat attributes;
  if (fstat(location, &attributes) != 0) {
    return ErrnoError(errno, absl::StrCat(path, ": stat"));
  }
  if (!S_ISREG(attributes.st_mode) && !S_ISBLK(attributes.st_mode)) {
    return MakeError(EACCES,
                     absl::StrCat(path, ": is ", TypeName(attributes.st_mode),
                                  ", not a regular file or block device"));
  }
  return attributes;
}

std::string ProcPath(int fd) { return absl::StrCat("/proc/self/fd/", fd); }

absl::StatusOr<UniqueFd> ReopenDescriptor(int fd, const std::string& path,
                                          Access access) {
  const int flags =
      (access == Access::kReadWrite ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY;
  const std::string name = ProcPath(fd);
  UniqueFd result(Uninterrupted([&] { return open(name.c_str(), flags); }));
  if (!result.valid()) {
    return ErrnoError(errno,
                      absl::StrCat(path, access == Access::kReadWrite
                                             ? ": open for reading and writing"
                                             : ": open for reading"));
  }
  return result;
}

}  // namespace

PosixFile::PosixFile(std::string path, UniqueFd fd, bool is_block_device)
    : File(std::move(path)),
      fd_(std::move(fd)),
      is_block_device_(is_block_device) {}

absl::Status PosixFile::Error(int error_number, absl::string_view operation,
                              uint64_t offset, uint64_t length) const {
  return ErrnoError(error_number, absl::StrCat(path(), ": ", operation, " at ",
                                               offset, ", ", length, " bytes"));
}

absl::Status PosixFile::CheckRange(absl::string_view operation, uint64_t offset,
                                   uint64_t length) const {
  if (offset > kMaxOffset || length > kMaxOffset - offset) {
    return Error(EFBIG, operation, offset, length);
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> PosixFile::Size() const {
  if (is_block_device_) {
    uint64_t size = 0;
    if (ioctl(fd_.get(), BLKGETSIZE64, &size) != 0) {
      return ErrnoError(errno, absl::StrCat(path(), ": size of block device"));
    }
    return size;
  }
  struct stat attributes;
  if (fstat(fd_.get(), &attributes) != 0) {
    return ErrnoError(errno, absl::StrCat(path(), ": stat"));
  }
  return static_cast<uint64_t>(attributes.st_size);
}

absl::StatusOr<FileStat> PosixFile::Stat() const {
  struct stat attributes;
  if (fstat(fd_.get(), &attributes) != 0) {
    return ErrnoError(errno, absl::StrCat(path(), ": stat"));
  }
  FileStat result = FromStat(attributes);
  if (is_block_device_) {
    ASSIGN_OR_RETURN(result.size, Size());
  }
  return result;
}

absl::StatusOr<size_t> PosixFile::Read(uint64_t offset,
                                       absl::Span<uint8_t> buffer) const {
  RETURN_IF_ERROR(CheckRange("read", offset, buffer.size()));
  size_t done = 0;
  while (done < buffer.size()) {
    const ssize_t n = Uninterrupted([&] {
      return pread(fd_.get(), buffer.data() + done, buffer.size() - done,
                   static_cast<off_t>(offset + done));
    });
    if (n < 0) {
      return Error(errno, "read", offset + done, buffer.size() - done);
    }
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

absl::StatusOr<size_t> PosixFile::ReadCached(uint64_t offset,
                                             absl::Span<uint8_t> buffer) const {
  RETURN_IF_ERROR(CheckRange("read", offset, buffer.size()));
  if (!tells_waits_.load(std::memory_order_relaxed)) {
    return Read(offset, buffer);
  }
  const iovec piece{buffer.data(), buffer.size()};
  const ssize_t n =
      preadv2(fd_.get(), &piece, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  if (n >= 0) return static_cast<size_t>(n);
  if (errno == EAGAIN || errno == EINTR) return 0;
  // On tmpfs, say, where there is nothing to wait for. Errors are Read()'s.
  if (errno == EOPNOTSUPP) {
    tells_waits_.store(false, std::memory_order_relaxed);
  }
  return Read(offset, buffer);
}

void PosixFile::WillNeed(Extent extent) const {
  if (!CheckRange("prefetch", extent.offset, extent.length).ok()) return;
  posix_fadvise(fd_.get(), static_cast<off_t>(extent.offset),
                static_cast<off_t>(extent.length), POSIX_FADV_WILLNEED);
}

absl::Status PosixFile::Write(uint64_t offset, absl::Span<const iovec> pieces) {
  RETURN_IF_ERROR(CheckRange("write", offset, TotalLength(pieces)));
  while (!pieces.empty()) {
    const absl::Span<const iovec> batch = pieces.subspan(0, kIovMax);
    RETURN_IF_ERROR(WriteBatch(offset, batch));
    pieces.remove_prefix(batch.size());
    offset += TotalLength(batch);
  }
  return absl::OkStatus();
}

absl::Status PosixFile::WriteBatch(uint64_t offset,
                                   absl::Span<const iovec> batch) {
  // Filled when a write stops inside a piece; `batch` is then its tail.
  std::vector<iovec> rest;
  while (!batch.empty()) {
    const ssize_t n = Uninterrupted([&] {
      return pwritev(fd_.get(), batch.data(), static_cast<int>(batch.size()),
                     static_cast<off_t>(offset));
    });
    if (n < 0) return Error(errno, "write", offset, TotalLength(batch));
    size_t written = static_cast<size_t>(n);
    offset += written;
    while (!batch.empty() && batch.front().iov_len <= written) {
      written -= batch.front().iov_len;
      batch.remove_prefix(1);
    }
    if (batch.empty()) break;
    // Nothing written and no reason given would repeat for ever.
    if (n == 0) return Error(EIO, "write", offset, TotalLength(batch));
    if (written == 0) continue;
    if (rest.empty()) {
      rest.assign(batch.begin(), batch.end());
      batch = rest;
    }
    iovec& front = rest[rest.size() - batch.size()];
    front.iov_base = static_cast<uint8_t*>(front.iov_base) + written;
    front.iov_len -= written;
  }
  return absl::OkStatus();
}

// Errors that say "not between these two files", or "not so aligned".
constexpr bool CannotCopyHere(int error_number) {
  return error_number == EOPNOTSUPP || error_number == EXDEV ||
         error_number == EINVAL || error_number == ENOSYS ||
         error_number == ENOTTY || error_number == EPERM ||
         error_number == ETXTBSY;
}

absl::StatusOr<uint64_t> PosixFile::ShareFrom(int source,
                                              uint64_t source_offset,
                                              Extent extent) {
  file_clone_range range{};
  range.src_fd = source;
  range.src_offset = source_offset;
  range.src_length = extent.length;
  range.dest_offset = extent.offset;
  int result = 0;
  do {
    result = ioctl(fd_.get(), FICLONERANGE, &range);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return extent.length;
  if (CannotCopyHere(errno)) return 0;
  return Error(errno, "clone", extent.offset, extent.length);
}

absl::StatusOr<uint64_t> PosixFile::CopyFrom(const File& source,
                                             uint64_t source_offset,
                                             Extent extent, HostCopy how) {
  RETURN_IF_ERROR(CheckRange("copy", extent.offset, extent.length));
  RETURN_IF_ERROR(CheckRange("copy", source_offset, extent.length));
  const int descriptor = source.Descriptor();
  // FICLONERANGE takes a length of 0 for "up to the end".
  if (descriptor < 0 || extent.length == 0) return 0;
  if (how == HostCopy::kShareBlocks) {
    return ShareFrom(descriptor, source_offset, extent);
  }
  auto from = static_cast<off_t>(source_offset);
  auto to = static_cast<off_t>(extent.offset);
  uint64_t done = 0;
  while (done < extent.length) {
    const ssize_t count = copy_file_range(descriptor, &from, fd_.get(), &to,
                                          extent.length - done, 0);
    if (count == 0) break;  // the source ends here
    if (count < 0) {
      if (errno == EINTR) continue;
      if (CannotCopyHere(errno)) break;
      return Error(errno, "copy", extent.offset + done, extent.length - done);
    }
    done += static_cast<uint64_t>(count);
  }
  return done;
}

absl::Status PosixFile::Sync() {
  if (Uninterrupted([&] { return fdatasync(fd_.get()); }) != 0) {
    absl::Status status = ErrnoError(errno, absl::StrCat(path(), ": sync"));
    // Linux now calls pages clean that never reached the disk. Without them,
    // reads tell what the disk holds.
    posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
    return status;
  }
  return absl::OkStatus();
}

absl::Status PosixFile::Truncate(uint64_t size) {
  RETURN_IF_ERROR(CheckRange("truncate", size, 0));
  if (Uninterrupted([&] {
        return ftruncate(fd_.get(), static_cast<off_t>(size));
      }) != 0) {
    return ErrnoError(errno, absl::StrCat(path(), ": truncate to ", size));
  }
  return absl::OkStatus();
}

absl::Status PosixFile::Allocate(Extent extent) {
  RETURN_IF_ERROR(CheckRange("allocate", extent.offset, extent.length));
  if (extent.length == 0 || is_block_device_) return absl::OkStatus();
  if (Uninterrupted([&] {
        return fallocate(fd_.get(), 0, static_cast<off_t>(extent.offset),
                         static_cast<off_t>(extent.length));
      }) != 0 &&
      !IsUnsupported(errno)) {
    return Error(errno, "allocate", extent.offset, extent.length);
  }
  return absl::OkStatus();
}

absl::Status PosixFile::Zero(Extent extent) {
  RETURN_IF_ERROR(CheckRange("zero", extent.offset, extent.length));
  if (extent.length == 0) return absl::OkStatus();
  for (const int mode : {FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE}) {
    if (Uninterrupted([&] {
          return fallocate(fd_.get(), mode | FALLOC_FL_KEEP_SIZE,
                           static_cast<off_t>(extent.offset),
                           static_cast<off_t>(extent.length));
        }) == 0) {
      return absl::OkStatus();
    }
    // EINVAL: a block device takes whole sectors only.
    if (!IsUnsupported(errno) && !(is_block_device_ && errno == EINVAL)) {
      return Error(errno, "zero", extent.offset, extent.length);
    }
  }
  return WriteZeroes(extent);
}

absl::Status PosixFile::WriteZeroes(Extent extent) {
  // Unlike fallocate, a write past the end would lengthen the file.
  ASSIGN_OR_RETURN(const uint64_t size, Size());
  const uint64_t end = std::min(extent.end(), size);
  std::array<iovec, kZeroPieces> pieces;
  for (uint64_t offset = extent.offset; offset < end;) {
    size_t count = 0;
    uint64_t length = 0;
    while (count < kZeroPieces && offset + length < end) {
      const uint64_t piece =
          std::min<uint64_t>(kZeroBytes, end - offset - length);
      pieces[count++] = {g_zeroes, static_cast<size_t>(piece)};
      length += piece;
    }
    RETURN_IF_ERROR(
        Write(offset, absl::MakeConstSpan(pieces).subspan(0, count)));
    offset += length;
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> PosixFile::Seek(absl::string_view operation,
                                         int whence, uint64_t offset) const {
  RETURN_IF_ERROR(CheckRange(operation, offset, 0));
  if (!is_block_device_) {
    // The position it leaves behind is used by nobody.
    const off_t found = Uninterrupted(
        [&] { return lseek(fd_.get(), static_cast<off_t>(offset), whence); });
    if (found >= 0) return static_cast<uint64_t>(found);
    if (errno == ENXIO) return Size();
    if (errno != EINVAL && errno != EOPNOTSUPP) {
      return ErrnoError(errno,
                        absl::StrCat(path(), ": ", operation, " at ", offset));
    }
  }
  ASSIGN_OR_RETURN(const uint64_t size, Size());
  return whence == SEEK_DATA ? std::min(offset, size) : size;
}

absl::StatusOr<uint64_t> PosixFile::SeekData(uint64_t offset) const {
  return Seek("seek data", SEEK_DATA, offset);
}

absl::StatusOr<uint64_t> PosixFile::SeekHole(uint64_t offset) const {
  return Seek("seek hole", SEEK_HOLE, offset);
}

absl::StatusOr<std::unique_ptr<File>> PosixFile::Reopen(Access access) const {
  ASSIGN_OR_RETURN(UniqueFd fd, ReopenDescriptor(fd_.get(), path(), access));
  return std::make_unique<PosixFile>(path(), std::move(fd), is_block_device_);
}

absl::Status PosixFile::SetLock(absl::string_view operation, uint64_t offset,
                                short type) {
  RETURN_IF_ERROR(CheckRange(operation, offset, 1));
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(offset);
  lock.l_len = 1;
  if (Uninterrupted([&] { return fcntl(fd_.get(), F_OFD_SETLK, &lock); }) !=
      0) {
    return Error(errno, operation, offset, 1);
  }
  return absl::OkStatus();
}

absl::Status PosixFile::LockByte(uint64_t offset) {
  return SetLock("lock", offset, F_RDLCK);
}

absl::Status PosixFile::UnlockByte(uint64_t offset) {
  return SetLock("unlock", offset, F_UNLCK);
}

absl::StatusOr<bool> PosixFile::IsByteLocked(uint64_t offset) const {
  RETURN_IF_ERROR(CheckRange("test lock", offset, 1));
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(offset);
  lock.l_len = 1;
  if (Uninterrupted([&] { return fcntl(fd_.get(), F_OFD_GETLK, &lock); }) !=
      0) {
    return Error(errno, "test lock", offset, 1);
  }
  return lock.l_type != F_UNLCK;
}

absl::StatusOr<std::string> DescriptorPath(int fd) {
  const std::string name = ProcPath(fd);
  std::string target(PATH_MAX, '\0');
  const ssize_t n = readlink(name.c_str(), target.data(), target.size());
  if (n < 0) return ErrnoError(errno, absl::StrCat(name, ": readlink"));
  if (static_cast<size_t>(n) == target.size()) {
    return ErrnoError(ENAMETOOLONG, absl::StrCat(name, ": readlink"));
  }
  target.resize(static_cast<size_t>(n));
  return target;
}

absl::StatusOr<std::unique_ptr<File>> OpenLocation(int location,
                                                   const std::string& path,
                                                   Access access) {
  ASSIGN_OR_RETURN(const struct stat attributes, Examine(location, path));
  ASSIGN_OR_RETURN(UniqueFd fd, ReopenDescriptor(location, path, access));
  return std::make_unique<PosixFile>(path, std::move(fd),
                                     S_ISBLK(attributes.st_mode));
}

absl::StatusOr<FileStat> StatLocation(int location, const std::string& path) {
  ASSIGN_OR_RETURN(const struct stat attributes, Examine(location, path));
  if (S_ISREG(attributes.st_mode)) return FromStat(attributes);
  ASSIGN_OR_RETURN(const std::unique_ptr<File> device,
                   OpenLocation(location, path, Access::kReadOnly));
  return device->Stat();
}

}  // namespace flatcow
