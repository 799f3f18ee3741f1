// SPDX-License-Identifier: Apache-2.0
//
// The lines of `map`: where the bytes of a disk are, in runs as long as
// possible.
#ifndef FLATCOW_TOOL_MAP_RUNS_H_
#define FLATCOW_TOOL_MAP_RUNS_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "flatcow/block_device.h"
#include "flatcow/extent.h"

namespace flatcow::tool {

// One segment, with its place on the disk.
struct MapRun {
  uint64_t start = 0;  // guest bytes
  Segment segment;

  uint64_t end() const { return start + segment.length; }
  friend bool operator==(const MapRun&, const MapRun&) = default;
};

// Makes `run` longer by `next` when both are one run: adjacent, of the same
// layer and kind, and, where they have a place in a file, without a gap there.
// Return value: whether it did.
bool Join(MapRun& run, const MapRun& next);

// Calls `visit` for each run of the extent, in order. The disk is asked for
// bounded pieces, so that memory stays bounded however fragmented it is.
//
// `layer_sizes` are the sizes of the disk and of the backing disks below it,
// in bytes. A run that no layer holds is given the depth qemu-img gives it:
// that of the layer below which there is nothing at that place.
//
// Precondition: the extent lies within the disk. Errors: those of Map(), when
// the runs before were visited; that of `visit`, which ends the work.
absl::Status ForEachRun(BlockDevice& disk,
                        const std::vector<uint64_t>& layer_sizes, Extent extent,
                        absl::FunctionRef<absl::Status(const MapRun&)> visit);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_MAP_RUNS_H_
