// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/image.h"
#include "flatcow/status.h"
#include "image/open_chain.h"
#include "io/metadata_cache.h"

namespace flatcow {
namespace {

constexpr size_t kOwnCacheBytes = 16 << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<Image>> OpenImage(FileSystem& file_system,
                                                 const std::string& path,
                                                 const OpenOptions& options) {
  const bool writable = options.access == Access::kReadWrite;
  if (writable && options.share_writes) {
    return MakeError(EINVAL, absl::StrCat(path,
                                          ": can't be shared with writers and "
                                          "opened for writing"));
  }
  const std::shared_ptr<MetadataCache> cache =
      options.metadata_cache != nullptr
          ? options.metadata_cache
          : std::make_shared<MetadataCache>(kOwnCacheBytes);
  ASSIGN_OR_RETURN(OpenedChain opened,
                   OpenChain(file_system, path, options, cache));
  return MakeOverlay(std::move(opened.chain), writable, cache,
                     std::move(opened.warnings));
}

}  // namespace flatcow
