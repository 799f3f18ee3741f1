// SPDX-License-Identifier: Apache-2.0
//
// `.flatcow` in the root of the mount: a folder that no listing shows, with
// files about the daemon in it. Their text is made when they are opened; like
// those of /proc they say that they are 0 bytes long.
#ifndef FLATCOW_FUSE_CONTROL_FILES_H_
#define FLATCOW_FUSE_CONTROL_FILES_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "catalog.h"

namespace flatcow::daemon {

inline constexpr absl::string_view kControlFolderName = ".flatcow";

// Nodes that the catalog never gets to: it counts from 1.
inline constexpr NodeId kControlFolder = ~NodeId{0} - 2;
inline constexpr NodeId kMetricsFile = ~NodeId{0} - 1;
inline constexpr NodeId kStatusFile = ~NodeId{0};

constexpr bool IsControlNode(NodeId node) { return node >= kControlFolder; }

// The text of an open file, as it was when it was opened. Shared, because a
// RELEASE may come before the call that answered the last READ has returned.
using ControlText = std::shared_ptr<const std::string>;

struct ControlFile {
  NodeId node;
  const char* name;
};

inline constexpr std::array<ControlFile, 2> kControlFiles = {
    {{kMetricsFile, "metrics"}, {kStatusFile, "status.json"}}};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_CONTROL_FILES_H_
