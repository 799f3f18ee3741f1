// SPDX-License-Identifier: Apache-2.0
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "format/registry.h"
#include "image/open_chain.h"
#include "ops/recorded_names.h"

namespace flatcow {

absl::Status AmendImage(FileSystem& file_system, const std::string& path,
                        const AmendOptions& options) {
  ASSIGN_OR_RETURN(ChainFile image,
                   OpenLocked(file_system, path, LockRole::kImageReadWrite));
  ASSIGN_OR_RETURN(const FormatDriver* const driver,
                   FormatOf(*image.file, options.format));
  ASSIGN_OR_RETURN(image.writable, image.file->Reopen(Access::kReadWrite));
  return RecordNames(image.io(), *driver, options);
}

}  // namespace flatcow
