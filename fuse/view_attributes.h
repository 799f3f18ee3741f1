// SPDX-License-Identifier: Apache-2.0
//
// The extended attributes of a view, getxattr(2): what its image says about
// itself.
#ifndef FLATCOW_FUSE_VIEW_ATTRIBUTES_H_
#define FLATCOW_FUSE_VIEW_ATTRIBUTES_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "image_facts.h"

namespace flatcow::daemon {

// All names begin with it.
inline constexpr absl::string_view kAttributePrefix = "user.flatcow.";

// This one is worked out only when it is asked for.
inline constexpr absl::string_view kAllocatedClusters =
    "user.flatcow.allocated_clusters";

// Names and values; text without an end.
using ViewAttributes = std::vector<std::pair<std::string, std::string>>;

// What they tell.
struct ViewFacts {
  std::string image;  // path on the host
  std::shared_ptr<const ImageFacts> facts;
  std::vector<std::string> backing;  // paths of the files below it
  uint64_t virtual_size = 0;         // bytes
  bool dirty_metadata = false;       // newer than its file
  bool passthrough = false;          // the kernel serves it
  bool ephemeral = false;            // what is written goes elsewhere
  // Absent: it would take long to count them, or the image can't be opened.
  std::optional<uint64_t> allocated_clusters;
};

// Of an image that can't be used there is just `image`.
ViewAttributes AttributesOf(const ViewFacts& view);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_VIEW_ATTRIBUTES_H_
