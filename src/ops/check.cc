// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/registry.h"
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
    ASSIGN_OR_RETURN(data,
                     OpenLocked(file_system, header.data_file->path, role));
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
