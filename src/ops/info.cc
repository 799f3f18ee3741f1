// SPDX-License-Identifier: Apache-2.0
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "image/open_chain.h"

namespace flatcow {
namespace {

LockRole RoleOf(const InfoOptions& options) {
  if (!options.lock) return LockRole::kNone;
  return options.share_writes ? LockRole::kShared : LockRole::kImageReadOnly;
}

}  // namespace

absl::StatusOr<ImageInfo> ReadImageInfo(FileSystem& file_system,
                                        const std::string& path,
                                        const InfoOptions& options) {
  ASSIGN_OR_RETURN(const ChainFile image,
                   OpenLocked(file_system, path, RoleOf(options)));
  return InspectImage(file_system, *image.file, options.format);
}

absl::StatusOr<std::vector<ImageInfo>> ReadChainInfo(
    FileSystem& file_system, const std::string& path,
    const InfoOptions& options) {
  // Opening finds what is wrong with the chain: cycles, missing files, locks.
  ASSIGN_OR_RETURN(const auto image,
                   OpenImage(file_system, path,
                             {.format = options.format,
                              .lock = options.lock,
                              .share_writes = options.share_writes}));
  std::vector<ImageInfo> chain;
  std::string next_path = path;
  std::string next_format = options.format;
  while (true) {
    ASSIGN_OR_RETURN(const auto file,
                     file_system.Open(next_path, Access::kReadOnly));
    ASSIGN_OR_RETURN(ImageInfo info,
                     InspectImage(file_system, *file, next_format));
    chain.push_back(std::move(info));
    const ImageInfo& above = chain.back();
    if (!above.backing.has_value() || above.all_allocated) return chain;
    next_path = above.backing->path;
    next_format = above.backing->format;
  }
}

}  // namespace flatcow
