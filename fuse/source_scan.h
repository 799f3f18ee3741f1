// SPDX-License-Identifier: Apache-2.0
//
// One walk over SOURCE: which of its files are views.
#ifndef FLATCOW_FUSE_SOURCE_SCAN_H_
#define FLATCOW_FUSE_SOURCE_SCAN_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/confined_file_system.h"
#include "image_facts.h"
#include "log.h"
#include "source_tree.h"

namespace flatcow::daemon {

struct FoundImage {
  std::string path;  // relative to SOURCE; a link's own
  Look look;
  // Of the backing chain, as far as it is known without opening anything.
  uint64_t below_allocated = 0;  // bytes on the host
  absl::Status below_status;     // not OK: an image of the chain is damaged
};

struct SourceScan {
  std::vector<SourceTree::Entry> directories;  // the root first
  std::vector<FoundImage> images;              // every name of each
};

// The facts of an image that is in use and need not be inspected, or null.
using FactsInUse =
    std::function<std::shared_ptr<const ImageFacts>(const FileId&)>;

// Makes a number of system calls that grows with the number of files, not with
// their size, and opens only what `inspector` does not know. Trouble with a
// single file or folder is logged, not returned.
// Errors: SOURCE itself can't be read.
absl::StatusOr<SourceScan> ScanSource(const SourceTree& tree,
                                      ConfinedFileSystem& files,
                                      ImageInspector& inspector,
                                      const FactsInUse& facts_in_use, Log& log);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_SOURCE_SCAN_H_
