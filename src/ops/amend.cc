// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/registry.h"
#include "image/open_chain.h"
#include "ops/recorded_names.h"
#include "ops/upgrade.h"

namespace flatcow {
namespace {

absl::Status CheckCompat(const File& file, const FormatDriver& driver,
                         const std::string& compat) {
  if (driver.upgrade == nullptr) {
    return MakeError(EINVAL, absl::StrCat(file.path(), ": a ", driver.name,
                                          " image has no option compat"));
  }
  if (compat == "final") return absl::OkStatus();
  return MakeError(EINVAL, absl::StrCat(file.path(), ": there is no layout '",
                                        compat, "': the only one is final"));
}

}  // namespace

absl::StatusOr<AmendResult> AmendImage(FileSystem& file_system,
                                       const std::string& path,
                                       const AmendOptions& options) {
  AmendResult result;
  ASSIGN_OR_RETURN(ChainFile image,
                   OpenLocked(file_system, path, LockRole::kImageReadWrite));
  ASSIGN_OR_RETURN(const FormatDriver* const driver,
                   FormatOf(*image.file, options.format));
  if (options.compat.has_value()) {
    RETURN_IF_ERROR(CheckCompat(*image.file, *driver, *options.compat));
    ASSIGN_OR_RETURN(const FormatHeader header,
                     driver->read_header(*image.file));
    if (header.is_older_layout) {
      ASSIGN_OR_RETURN(Names names,
                       ChangedNames(*image.file, *driver, header, options));
      RETURN_IF_ERROR(UpgradeImage(file_system, *image.file, *driver,
                                   std::move(names), result.warnings));
      return result;
    }
  }
  ASSIGN_OR_RETURN(image.writable, image.file->Reopen(Access::kReadWrite));
  RETURN_IF_ERROR(RecordNames(image.io(), *driver, options));
  return result;
}

}  // namespace flatcow
