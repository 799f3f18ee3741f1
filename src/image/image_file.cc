// SPDX-License-Identifier: Apache-2.0
#include "image/image_file.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "image/overlay.h"

namespace flatcow {
namespace {

// How much of the disk is looked at in one go.
constexpr uint64_t kSeekBytes = uint64_t{1} << 30;

}  // namespace

ImageFile::ImageFile(std::shared_ptr<Overlay> image)
    : File(image->Info().path), image_(std::move(image)) {
  image_->LeaveRoundsToFlush();
}

ImageFile::~ImageFile() = default;

absl::StatusOr<FileStat> ImageFile::Stat() const {
  ASSIGN_OR_RETURN(FileStat stat, image_->chain().image().image.file->Stat());
  stat.size = image_->Size();
  return stat;
}

absl::StatusOr<size_t> ImageFile::Read(uint64_t offset,
                                       absl::Span<uint8_t> buffer) const {
  return image_->Read(offset, buffer);
}

absl::Status ImageFile::Write(uint64_t offset, absl::Span<const iovec> pieces) {
  for (const iovec& piece : pieces) {
    const auto data = absl::MakeConstSpan(
        static_cast<const uint8_t*>(piece.iov_base), piece.iov_len);
    ASSIGN_OR_RETURN(const size_t count, image_->Write(offset, data));
    if (count != data.size()) {
      return MakeError(ENOSPC,
                       absl::StrCat(path(), ": write at ", offset,
                                    ": the disk ends at ", offset + count));
    }
    offset += count;
  }
  return absl::OkStatus();
}

absl::Status ImageFile::Sync() { return image_->Flush(); }

bool ImageFile::SyncMayBeTriedAgain() const { return !image_->SyncFailed(); }

absl::Status ImageFile::Truncate(uint64_t size) {
  return size < image_->Size() ? image_->Shrink(size) : image_->Resize(size);
}

absl::Status ImageFile::Allocate(Extent extent) {
  return image_->Allocate(extent);
}

absl::Status ImageFile::Zero(Extent extent) {
  return image_->WriteZeroes(extent);
}

absl::StatusOr<uint64_t> ImageFile::Seek(uint64_t offset,
                                         Segment::Kind kind) const {
  const uint64_t size = image_->Size();
  while (offset < size) {
    ASSIGN_OR_RETURN(
        const SegmentList segments,
        image_->Map({offset, std::min(kSeekBytes, size - offset)}));
    for (const Segment& segment : segments) {
      if (segment.kind == kind) return offset;
      offset += segment.length;
    }
  }
  return size;
}

absl::StatusOr<uint64_t> ImageFile::SeekData(uint64_t offset) const {
  return Seek(offset, Segment::Kind::kData);
}

absl::StatusOr<uint64_t> ImageFile::SeekHole(uint64_t offset) const {
  return Seek(offset, Segment::Kind::kZero);
}

absl::StatusOr<std::unique_ptr<File>> ImageFile::Reopen(Access access) const {
  if (access == Access::kReadWrite) RETURN_IF_ERROR(image_->MakeWritable());
  return std::make_unique<ImageFile>(image_);
}

absl::Status ImageFile::NoLocks() const {
  return MakeError(EOPNOTSUPP,
                   absl::StrCat(path(), ": a virtual disk has no byte locks"));
}

absl::Status ImageFile::LockByte(uint64_t) { return NoLocks(); }

absl::Status ImageFile::UnlockByte(uint64_t) { return NoLocks(); }

absl::StatusOr<bool> ImageFile::IsByteLocked(uint64_t) const {
  return NoLocks();
}

}  // namespace flatcow
