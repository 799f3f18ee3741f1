// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FUSE_VIEW_SEEK_H_
#define FLATCOW_FUSE_VIEW_SEEK_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "flatcow/block_device.h"

namespace flatcow::daemon {

enum class SeekTarget { kData, kHole };

// lseek(2) with SEEK_DATA or SEEK_HOLE: the first byte at or behind `offset`
// that is data (a hole). Clusters that are all hole in their host file count
// as holes. The disk ends with a hole.
// Errors: ENXIO at or past the end, or no data follows.
absl::StatusOr<uint64_t> SeekView(BlockDevice& disk, uint64_t offset,
                                  SeekTarget target);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_VIEW_SEEK_H_
