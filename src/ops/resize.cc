// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <limits>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"

namespace flatcow {
namespace {

absl::StatusOr<uint64_t> NewSize(uint64_t size, const ResizeOptions& options,
                                 const std::string& path) {
  switch (options.how) {
    case ResizeOptions::How::kTo:
      return options.bytes;
    case ResizeOptions::How::kBy:
      return CheckedAdd(size, options.bytes)
          .value_or(std::numeric_limits<uint64_t>::max());
    case ResizeOptions::How::kDownBy:
      if (options.bytes <= size) return size - options.bytes;
      return MakeError(
          EINVAL,
          absl::StrCat(path, ": the disk has ", size,
                       " bytes and can't be made smaller by ", options.bytes));
  }
  return size;
}

// What dropped entries leave at the end of a QED file: of the image, or of the
// one that is its image file.
absl::Status GiveBackSpace(FileSystem& file_system, std::string path,
                           std::string format) {
  while (format != "qed") {
    ASSIGN_OR_RETURN(const auto file,
                     file_system.Open(path, Access::kReadOnly));
    ASSIGN_OR_RETURN(const ImageInfo info,
                     InspectImage(file_system, *file, format));
    if (!info.data_file.has_value()) return absl::OkStatus();
    path = info.data_file->path;
    format = info.data_file->format;
  }
  return CheckImage(file_system, path,
                    {.format = format, .repair = Repair::kLeaks})
      .status();
}

}  // namespace

absl::StatusOr<uint64_t> ResizeImage(FileSystem& file_system,
                                     const std::string& path,
                                     const ResizeOptions& options) {
  std::string format;
  uint64_t new_size = 0;
  {
    ASSIGN_OR_RETURN(const auto image, OpenImage(file_system, path,
                                                 {.access = Access::kReadWrite,
                                                  .format = options.format}));
    format = image->Info().format;
    const uint64_t size = image->Size();
    ASSIGN_OR_RETURN(new_size, NewSize(size, options, path));
    if (new_size >= size) {
      RETURN_IF_ERROR(image->Resize(new_size));
      RETURN_IF_ERROR(image->Flush());
      return new_size;
    }
    if (!options.shrink) {
      return MakeError(
          EINVAL, absl::StrCat(path, ": making the disk smaller, from ", size,
                               " to ", new_size,
                               " bytes, drops the data behind its new "
                               "end; use --shrink to do so"));
    }
    RETURN_IF_ERROR(image->Shrink(new_size));
    RETURN_IF_ERROR(image->Flush());
  }
  RETURN_IF_ERROR(GiveBackSpace(file_system, path, format));
  return new_size;
}

}  // namespace flatcow
