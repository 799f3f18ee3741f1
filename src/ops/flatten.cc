// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/registry.h"
#include "image/open_chain.h"
#include "ops/pieces.h"
#include "ops/recorded_names.h"
#include "ops/segment_cursor.h"

namespace flatcow {
namespace {

// What the image does not hold. Zeroes need a cluster only where the image is
// to be flat: without a backing file the others read as zeroes anyhow.
absl::StatusOr<Stretch> Survey(SegmentCursor& cursor, bool with_zeroes,
                               uint64_t offset) {
  ASSIGN_OR_RETURN(const Segment segment, cursor.At(offset));
  if (segment.kind == Segment::Kind::kData) {
    return Stretch{segment.depth == 0 ? Todo::kNothing : Todo::kData,
                   segment.length};
  }
  const bool own = segment.allocated && segment.depth == 0;
  return Stretch{with_zeroes && !own ? Todo::kZero : Todo::kNothing,
                 segment.length};
}

}  // namespace

absl::StatusOr<FlattenResult> FlattenImage(FileSystem& file_system,
                                           const std::string& path,
                                           const FlattenOptions& options) {
  ASSIGN_OR_RETURN(const auto image, OpenImage(file_system, path,
                                               {.access = Access::kReadWrite,
                                                .format = options.format}));
  const ImageInfo& info = image->Info();
  ASSIGN_OR_RETURN(const FormatDriver* const driver, FormatByName(info.format));
  if (driver->record == nullptr) {
    return MakeError(ENOTSUP, absl::StrCat(info.path, ": a ", info.format,
                                           " image has no backing file"));
  }
  FlattenResult result{.warnings = image->Warnings()};
  if (info.data_file.has_value()) result.data_file = info.data_file->path;
  const bool becomes_flat = driver->mark_flat != nullptr;
  if (info.all_allocated || (!info.backing.has_value() && !becomes_flat)) {
    return result;
  }
  SegmentCursor cursor(*image);
  std::atomic<uint64_t> copied{0};
  RETURN_IF_ERROR(WorkOnPieces(
      image->Size(), options.work, kPieceBytes,
      [&](uint64_t offset) { return Survey(cursor, becomes_flat, offset); },
      [&](const Piece& piece, absl::Span<uint8_t>) -> absl::Status {
        ASSIGN_OR_RETURN(const uint64_t bytes, image->Populate(piece.extent));
        copied.fetch_add(bytes);
        return absl::OkStatus();
      }));
  result.copied_bytes = copied.load();
  RETURN_IF_ERROR(image->Flush());
  ASSIGN_OR_RETURN(const auto file,
                   file_system.Open(info.path, Access::kReadWrite));
  if (!becomes_flat) {
    RETURN_IF_ERROR(RecordNames(*file, *driver, {.backing_file = ""}));
    return result;
  }
  ASSIGN_OR_RETURN(const ChainFile data_file,
                   OpenDataFile(file_system, *info.data_file, LockRole::kNone));
  RETURN_IF_ERROR(driver->mark_flat(*file, *data_file.file));
  return result;
}

}  // namespace flatcow
