// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_IMAGE_OPEN_CHAIN_H_
#define FLATCOW_IMAGE_OPEN_CHAIN_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "flatcow/file.h"
#include "flatcow/image.h"
#include "image/chain.h"
#include "image/overlay.h"

namespace flatcow {

struct OpenedChain {
  Chain chain;
  std::vector<std::string> warnings;
};

// Opens the image and everything below it, locks first. Errors: as OpenImage.
absl::StatusOr<OpenedChain> OpenChain(FileSystem& file_system,
                                      const std::string& path,
                                      const OpenOptions& options,
                                      std::shared_ptr<MetadataCache> cache);

// The image of an opened chain.
std::unique_ptr<Overlay> MakeOverlay(Chain chain, bool writable,
                                     std::shared_ptr<MetadataCache> cache,
                                     std::vector<std::string> warnings);

// Opens one file and takes the locks of `role`.
absl::StatusOr<ChainFile> OpenLocked(FileSystem& file_system,
                                     const std::string& path, LockRole role);

// The same for a data file as the image that names it sees it: one that is an
// image is opened as such, for reading, with everything below it. Its Reopen()
// makes it writable.
absl::StatusOr<ChainFile> OpenDataFile(FileSystem& file_system,
                                       const ImageLink& link, LockRole role);

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_OPEN_CHAIN_H_
