// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/link_name.h"
#include "format/registry.h"
#include "image/open_chain.h"
#include "ops/disk_writer.h"
#include "ops/pieces.h"
#include "ops/segment_cursor.h"

namespace flatcow {
namespace {

// Disks of some formats are whole sectors.
constexpr uint64_t kSectorBytes = 512;

// An image above the base, with the locks on its files.
struct LockedImage {
  const FormatDriver* driver = nullptr;
  FormatHeader header;
  ChainFile file;
  std::optional<ChainFile> data;
};

class Commit {
 public:
  Commit(FileSystem& file_system, const std::string& path,
         const CommitOptions& options)
      : file_system_(file_system), path_(path), options_(options) {}

  absl::StatusOr<CommitResult> Run();

 private:
  absl::StatusOr<LockedImage> Lock(const std::string& path,
                                   const std::string& format, LockRole role);
  // Locks the images above the base. Return value: where the base is.
  absl::StatusOr<ImageLink> FindBase();
  absl::Status OpenBase(const ImageLink& link);
  absl::StatusOr<Stretch> Survey(uint64_t offset);
  absl::Status Empty();

  FileSystem& file_system_;
  const std::string& path_;
  const CommitOptions& options_;
  std::vector<LockedImage> above_;  // the image first
  std::unique_ptr<Image> image_;    // without locks of its own
  std::unique_ptr<Image> base_;
  uint64_t old_base_size_ = 0;
  std::unique_ptr<SegmentCursor> cursor_;
  std::unique_ptr<DiskWriter> writer_;
};

absl::StatusOr<LockedImage> Commit::Lock(const std::string& path,
                                         const std::string& format,
                                         LockRole role) {
  LockedImage image;
  ASSIGN_OR_RETURN(image.file, OpenLocked(file_system_, path, role));
  ASSIGN_OR_RETURN(image.driver, FormatOf(*image.file.file, format));
  ASSIGN_OR_RETURN(image.header, image.driver->read_header(*image.file.file));
  if (image.header.data_file.has_value()) {
    ASSIGN_OR_RETURN(image.data,
                     OpenDataFile(file_system_, *image.header.data_file, role));
  }
  return image;
}

absl::StatusOr<ImageLink> Commit::FindBase() {
  ASSIGN_OR_RETURN(LockedImage image,
                   Lock(path_, options_.format, LockRole::kImageReadWrite));
  above_.push_back(std::move(image));
  const FormatHeader& header = above_.front().header;
  if (!header.read_only.empty() && !options_.keep) {
    return MakeError(
        EROFS, absl::StrCat(path_, ": can't be emptied: ", header.read_only));
  }
  if (!header.backing.has_value()) {
    return MakeError(EINVAL,
                     absl::StrCat(path_, ": has no backing file to commit to"));
  }
  if (options_.base.empty()) return *header.backing;

  // As the image would record it, or as a path.
  auto wanted = file_system_.Stat(ResolveLinkName(path_, options_.base));
  if (!wanted.ok()) wanted = file_system_.Stat(options_.base);
  if (!wanted.ok()) return wanted.status();
  ImageLink link = *header.backing;
  while (above_.size() < kMaxChainFiles) {
    ASSIGN_OR_RETURN(const FileStat stat, file_system_.Stat(link.path));
    if (stat.id == wanted->id) return link;
    ASSIGN_OR_RETURN(image, Lock(link.path, link.format, LockRole::kBacking));
    if (!image.header.backing.has_value() || image.header.ignores_backing) {
      break;
    }
    link = *image.header.backing;
    above_.push_back(std::move(image));
  }
  return MakeError(EINVAL, absl::StrCat(path_, ": base '", options_.base,
                                        "' is not in its backing chain"));
}

absl::Status Commit::OpenBase(const ImageLink& link) {
  ASSIGN_OR_RETURN(
      base_, OpenImage(file_system_, link.path,
                       {.access = Access::kReadWrite, .format = link.format}));
  ASSIGN_OR_RETURN(image_,
                   OpenImage(file_system_, path_,
                             {.format = options_.format, .lock = false}));
  cursor_ = std::make_unique<SegmentCursor>(*image_);
  writer_ =
      std::make_unique<DiskWriter>(*base_, nullptr, DiskWriter::Options{});
  old_base_size_ = base_->Size();
  const uint64_t size = image_->Size();
  if (size <= old_base_size_) return absl::OkStatus();
  const absl::Status status = base_->Resize(size);
  if (ErrnoOf(status) != EINVAL) return status;
  return base_->Resize(RoundUp(size, kSectorBytes));
}

absl::StatusOr<Stretch> Commit::Survey(uint64_t offset) {
  ASSIGN_OR_RETURN(const Segment segment, cursor_->At(offset));
  // Nothing below an image that ends sooner is seen, whatever the base has.
  const bool above = segment.allocated ? segment.depth < above_.size()
                                       : offset < old_base_size_;
  if (!above) return Stretch{Todo::kNothing, segment.length};
  const bool zero = segment.kind == Segment::Kind::kZero;
  return Stretch{zero ? Todo::kZero : Todo::kData, segment.length};
}

absl::Status Commit::Empty() {
  image_.reset();
  base_.reset();
  LockedImage& image = above_.front();
  ASSIGN_OR_RETURN(image.file.writable,
                   image.file.file->Reopen(Access::kReadWrite));
  File* data = nullptr;
  if (image.data.has_value()) {
    ASSIGN_OR_RETURN(image.data->writable,
                     image.data->file->Reopen(Access::kReadWrite));
    data = image.data->writable.get();
  }
  RETURN_IF_ERROR(image.driver->empty(*image.file.writable, data));
  // In an image file that is an image, zeroes may be metadata.
  const bool has_image = data != nullptr && IsImage(*image.header.data_file);
  return has_image ? data->Sync() : absl::OkStatus();
}

absl::StatusOr<CommitResult> Commit::Run() {
  ASSIGN_OR_RETURN(const ImageLink link, FindBase());
  RETURN_IF_ERROR(OpenBase(link));
  CommitResult result{.base = base_->Info().path,
                      .warnings = image_->Warnings()};
  RETURN_IF_ERROR(WorkOnPieces(
      image_->Size(), options_.work, kPieceBytes,
      [this](uint64_t offset) { return Survey(offset); },
      [this](const Piece& piece, absl::Span<uint8_t> buffer) {
        if (piece.zero) return writer_->WriteZeroes(piece.extent);
        return writer_->CopyFrom(*image_, piece.extent, buffer);
      }));
  RETURN_IF_ERROR(base_->Flush());
  result.written_bytes = writer_->written_bytes();
  if (!options_.keep && above_.size() == 1) {
    RETURN_IF_ERROR(Empty());
    result.emptied = true;
  }
  return result;
}

}  // namespace

absl::StatusOr<CommitResult> CommitImage(FileSystem& file_system,
                                         const std::string& path,
                                         const CommitOptions& options) {
  return Commit(file_system, path, options).Run();
}

}  // namespace flatcow
