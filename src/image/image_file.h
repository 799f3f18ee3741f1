// SPDX-License-Identifier: Apache-2.0
//
// A virtual disk as a file: what an add-cow image sees when its image file is
// an image itself. Offsets are those of the disk, so a layer needs to know
// nothing of it, and "sync the data file" is a flush of all that the inner
// image consists of.
#ifndef FLATCOW_IMAGE_IMAGE_FILE_H_
#define FLATCOW_IMAGE_IMAGE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "flatcow/file.h"
#include "flatcow/image.h"

namespace flatcow {

class Overlay;

// Does the data file that is recorded so hold a disk, rather than be one?
inline bool IsImage(const ImageLink& data_file) {
  return !data_file.format.empty() && data_file.format != "raw";
}

class ImageFile final : public File {
 public:
  // From now on `image` begins no flush rounds but in Sync().
  explicit ImageFile(std::shared_ptr<Overlay> image);
  ~ImageFile() override;

  Overlay& image() const { return *image_; }

  // That of the image's own file, but for the size, which is the disk's.
  absl::StatusOr<FileStat> Stat() const override;
  absl::StatusOr<size_t> Read(uint64_t offset,
                              absl::Span<uint8_t> buffer) const override;
  // Past the end of the disk: ENOSPC.
  absl::Status Write(uint64_t offset, absl::Span<const iovec> pieces) override;
  absl::Status Sync() override;
  bool SyncMayBeTriedAgain() const override;
  absl::Status Truncate(uint64_t size) override;
  absl::Status Allocate(Extent extent) override;
  absl::Status Zero(Extent extent) override;
  absl::StatusOr<uint64_t> SeekData(uint64_t offset) const override;
  absl::StatusOr<uint64_t> SeekHole(uint64_t offset) const override;
  // The same image, made writable when that is asked for.
  absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const override;
  // The image has its own locks; a disk has none.
  absl::Status LockByte(uint64_t offset) override;
  absl::Status UnlockByte(uint64_t offset) override;
  absl::StatusOr<bool> IsByteLocked(uint64_t offset) const override;

 private:
  absl::StatusOr<uint64_t> Seek(uint64_t offset, Segment::Kind kind) const;
  absl::Status NoLocks() const;

  const std::shared_ptr<Overlay> image_;
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_IMAGE_FILE_H_
