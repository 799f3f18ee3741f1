// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/link_name.h"
#include "format/registry.h"
#include "image/open_chain.h"
#include "ops/pieces.h"
#include "ops/recorded_names.h"
#include "ops/segment_cursor.h"

namespace flatcow {
namespace {

class Rebase {
 public:
  Rebase(FileSystem& file_system, const std::string& path,
         const RebaseOptions& options)
      : file_system_(file_system), path_(path), options_(options) {}

  absl::StatusOr<RebaseResult> Run();

 private:
  absl::Status OpenNewBacking();
  // Files of the chain besides those of the backing chain.
  absl::StatusOr<size_t> CountOwnFiles();
  absl::StatusOr<Stretch> Survey(uint64_t offset);
  // Populates the clusters of the piece that the new backing file does not show
  // as the disk does.
  absl::Status Settle(const Piece& piece, absl::Span<uint8_t> buffer);

  FileSystem& file_system_;
  const std::string& path_;
  const RebaseOptions& options_;
  std::unique_ptr<Image> image_;
  std::unique_ptr<Image> backing_;  // the new one; null: none
  std::unique_ptr<SegmentCursor> cursor_;
  std::unique_ptr<SegmentCursor> backing_cursor_;
  std::string backing_format_;
  std::atomic<uint64_t> copied_{0};
  RebaseResult result_;
};

absl::StatusOr<size_t> Rebase::CountOwnFiles() {
  const std::optional<ImageLink>& link = image_->Info().data_file;
  if (!link.has_value() || !IsImage(*link)) {
    return image_->WrittenPaths().size();
  }
  ASSIGN_OR_RETURN(const ChainFile data,
                   OpenDataFile(file_system_, *link, LockRole::kNone));
  const Image& inner = static_cast<const ImageFile&>(*data.file).image();
  return 1 + inner.ChainPaths().size();
}

absl::Status Rebase::OpenNewBacking() {
  backing_format_ = options_.backing_format;
  if (options_.backing_file.empty()) return absl::OkStatus();
  const std::string path =
      ResolveLinkName(image_->Info().path, options_.backing_file);
  // Before its locks get in the way of this image's own.
  ASSIGN_OR_RETURN(const auto found,
                   OpenImage(file_system_, path,
                             {.format = backing_format_, .lock = false}));
  const std::vector<std::string> own = image_->WrittenPaths();
  const std::vector<std::string> below = found->ChainPaths();
  for (const std::string& file : below) {
    if (std::find(own.begin(), own.end(), file) == own.end()) continue;
    return MakeError(
        EINVAL, absl::StrCat(path_, ": backing file '", options_.backing_file,
                             "' is based on the image itself"));
  }
  ASSIGN_OR_RETURN(const size_t own_count, CountOwnFiles());
  if (own_count + below.size() > kMaxChainFiles) {
    return MakeError(ELOOP,
                     absl::StrCat(path_, ": the chain would have more than ",
                                  kMaxChainFiles, " files"));
  }
  ASSIGN_OR_RETURN(backing_,
                   OpenImage(file_system_, path, {.format = backing_format_}));
  for (const std::string& warning : backing_->Warnings()) {
    result_.warnings.push_back(warning);
  }
  if (backing_format_.empty()) {
    backing_format_ = FoundBackingFormat(options_.backing_file,
                                         backing_->Info(), result_.warnings);
  }
  backing_cursor_ = std::make_unique<SegmentCursor>(*backing_);
  return absl::OkStatus();
}

absl::StatusOr<Stretch> Rebase::Survey(uint64_t offset) {
  ASSIGN_OR_RETURN(const Segment shown, cursor_->At(offset));
  if (shown.allocated && shown.depth == 0) {
    return Stretch{Todo::kNothing, shown.length};
  }
  Segment next{.length = UINT64_MAX};
  if (backing_ != nullptr) {
    ASSIGN_OR_RETURN(next, backing_cursor_->At(offset));
  }
  return Stretch{AreSame(shown, next) ? Todo::kNothing : Todo::kData,
                 std::min(shown.length, next.length)};
}

absl::Status Rebase::Settle(const Piece& piece, absl::Span<uint8_t> buffer) {
  const auto length = static_cast<size_t>(piece.extent.length);
  const auto shown = buffer.first(length);
  const auto next = buffer.subspan(kPairBytes, length);
  const uint64_t begin = piece.extent.offset;
  RETURN_IF_ERROR(image_->Read(begin, shown).status());
  if (backing_ != nullptr) {
    RETURN_IF_ERROR(ReadPadded(*backing_, begin, next));
  } else {
    std::fill(next.begin(), next.end(), 0);
  }
  const uint64_t cluster_size = image_->Info().cluster_size;
  for (uint64_t at = 0; at < length;) {
    const uint64_t unit = std::min<uint64_t>(
        length - at, cluster_size - ((begin + at) & (cluster_size - 1)));
    if (std::memcmp(&shown[at], &next[at], unit) != 0) {
      ASSIGN_OR_RETURN(const uint64_t bytes,
                       image_->Populate({begin + at, unit}));
      copied_.fetch_add(bytes);
    }
    at += unit;
  }
  return absl::OkStatus();
}

absl::StatusOr<RebaseResult> Rebase::Run() {
  ASSIGN_OR_RETURN(image_, OpenImage(file_system_, path_,
                                     {.access = Access::kReadWrite,
                                      .format = options_.format}));
  const ImageInfo& info = image_->Info();
  ASSIGN_OR_RETURN(const FormatDriver* const driver, FormatByName(info.format));
  if (driver->record == nullptr) {
    return MakeError(EINVAL, absl::StrCat(info.path, ": a ", info.format,
                                          " image has no backing file"));
  }
  result_.warnings = image_->Warnings();
  cursor_ = std::make_unique<SegmentCursor>(*image_);
  RETURN_IF_ERROR(OpenNewBacking());
  RETURN_IF_ERROR(WorkOnPieces(
      image_->Size(), options_.work, kPairBytes,
      [this](uint64_t offset) { return Survey(offset); },
      [this](const Piece& piece, absl::Span<uint8_t> buffer) {
        return Settle(piece, buffer);
      }));
  RETURN_IF_ERROR(image_->Flush());
  ASSIGN_OR_RETURN(const auto file,
                   file_system_.Open(info.path, Access::kReadWrite));
  RETURN_IF_ERROR(RecordNames(*file, *driver,
                              {.backing_file = options_.backing_file,
                               .backing_format = backing_format_}));
  result_.copied_bytes = copied_.load();
  return result_;
}

}  // namespace

absl::StatusOr<RebaseResult> RebaseImage(FileSystem& file_system,
                                         const std::string& path,
                                         const RebaseOptions& options) {
  if (!options.unsafe) return Rebase(file_system, path, options).Run();
  RETURN_IF_ERROR(AmendImage(file_system, path,
                             {.format = options.format,
                              .backing_file = options.backing_file,
                              .backing_format = options.backing_format})
                      .status());
  return RebaseResult{};
}

}  // namespace flatcow
