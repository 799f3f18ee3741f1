// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/registry.h"
#include "image/image_info.h"
#include "image/open_chain.h"

namespace flatcow {
namespace {

LockRole RoleOf(const CheckOptions& options) {
  if (!options.lock) return LockRole::kNone;
  if (options.repair != Repair::kNone) return LockRole::kImageReadWrite;
  return options.share_writes ? LockRole::kShared : LockRole::kImageReadOnly;
}

// What is below does not decide whether the image itself is sound.
void WarnOfBacking(FileSystem& file_system, const std::string& path,
                   const CheckOptions& options, CheckResult& result) {
  const auto image = OpenImage(file_system, path,
                               {.format = options.format,
                                .lock = false,
                                .metadata_cache = NewMetadataCache(1)});
  if (!image.ok()) {
    result.warnings.push_back(std::string(image.status().message()));
  }
}

// Nor does an image file that is an image: it is checked by its own name.
void WarnOfImageFile(FileSystem& file_system, const ImageLink& link,
                     CheckResult& result) {
  const auto inner = CheckImage(file_system, link.path,
                                {.format = link.format, .lock = false});
  const auto warn = [&](absl::string_view what) {
    result.warnings.push_back(
        absl::StrCat("image file '", link.name, "': ", what));
  };
  if (!inner.ok()) {
    warn(inner.status().message());
    return;
  }
  if (inner->corruptions + inner->leaks + inner->check_errors != 0) {
    warn(absl::StrCat(inner->corruptions, " bad entries, ", inner->leaks,
                      " leaked clusters, ", inner->check_errors,
                      " errors; check it by itself"));
  }
  for (const std::string& warning : inner->warnings) warn(warning);
}

}  // namespace

absl::StatusOr<CheckResult> CheckImage(FileSystem& file_system,
                                       const std::string& path,
                                       const CheckOptions& options) {
  const LockRole role = RoleOf(options);
  ASSIGN_OR_RETURN(ChainFile image, OpenLocked(file_system, path, role));
  ASSIGN_OR_RETURN(const FormatDriver* const driver,
                   FormatOf(*image.file, options.format));
  CheckResult result;
  result.format = driver->name;
  if (driver->check == nullptr) {
    return MakeError(ENOTSUP,
                     absl::StrCat(image.file->path(), ": format ", driver->name,
                                  " has nothing to check"));
  }
  ASSIGN_OR_RETURN(const FormatHeader header, driver->read_header(*image.file));
  std::optional<ChainFile> data;
  if (header.data_file.has_value()) {
    const ImageLink& link = *header.data_file;
    auto opened = OpenDataFile(file_system, link, role);
    if (!opened.ok()) {
      return IsImage(link) ? AnnotateLink(opened.status(), *image.file,
                                          "image file", link)
                           : opened.status();
    }
    data = *std::move(opened);
    if (IsImage(link)) WarnOfImageFile(file_system, link, result);
  }
  if (options.repair != Repair::kNone) {
    ASSIGN_OR_RETURN(image.writable, image.file->Reopen(Access::kReadWrite));
  }
  RETURN_IF_ERROR(driver->check(image.io(),
                                data.has_value() ? data->file.get() : nullptr,
                                options.repair, result));
  if (header.backing.has_value() && !header.ignores_backing) {
    WarnOfBacking(file_system, path, options, result);
  }
  return result;
}

}  // namespace flatcow
