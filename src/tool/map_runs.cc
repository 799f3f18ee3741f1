// SPDX-License-Identifier: Apache-2.0
#include "map_runs.h"

#include <algorithm>
#include <cstddef>

#include "absl/status/statusor.h"

namespace flatcow::tool {
namespace {

// At most this much is mapped at once: 64 Ki steps for a disk of 64 TiB, and a
// few hundred thousand segments in a step if it is as fragmented as can be.
constexpr uint64_t kStep = uint64_t{1} << 30;

// Joins runs as they come and hands them on when they are complete.
class Joiner {
 public:
  Joiner(const std::vector<uint64_t>& layer_sizes,
         absl::FunctionRef<absl::Status(const MapRun&)> visit)
      : layer_sizes_(layer_sizes), visit_(visit) {}

  absl::Status Add(MapRun run) {
    if (run.segment.allocated) return AddWhole(run);
    // Nothing holds it: cut where another layer turns out to be too short.
    const uint64_t end = run.end();
    while (run.start < end) {
      run.segment.depth = DepthOfNothing(run.start);
      run.segment.length = std::min(end, NextLayerEnd(run.start)) - run.start;
      const absl::Status status = AddWhole(run);
      if (!status.ok()) return status;
      run.start = run.end();
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    return run_.segment.length == 0 ? absl::OkStatus() : visit_(run_);
  }

 private:
  absl::Status AddWhole(const MapRun& run) {
    if (Join(run_, run)) return absl::OkStatus();
    const absl::Status status = Finish();
    run_ = run;
    return status;
  }

  uint16_t DepthOfNothing(uint64_t offset) const {
    size_t depth = 0;
    while (depth + 1 < layer_sizes_.size() &&
           layer_sizes_[depth + 1] > offset) {
      ++depth;
    }
    return static_cast<uint16_t>(depth);
  }

  uint64_t NextLayerEnd(uint64_t offset) const {
    uint64_t next = UINT64_MAX;
    for (const uint64_t size : layer_sizes_) {
      if (size > offset) next = std::min(next, size);
    }
    return next;
  }

  const std::vector<uint64_t>& layer_sizes_;
  const absl::FunctionRef<absl::Status(const MapRun&)> visit_;
  MapRun run_;
};

}  // namespace

bool Join(MapRun& run, const MapRun& next) {
  const Segment& a = run.segment;
  const Segment& b = next.segment;
  if (a.length == 0 || run.end() != next.start || a.kind != b.kind ||
      a.allocated != b.allocated || a.depth != b.depth || a.file != b.file) {
    return false;
  }
  if (a.file != nullptr && a.host_offset + a.length != b.host_offset) {
    return false;
  }
  run.segment.length += b.length;
  return true;
}

absl::Status ForEachRun(BlockDevice& disk,
                        const std::vector<uint64_t>& layer_sizes, Extent extent,
                        absl::FunctionRef<absl::Status(const MapRun&)> visit) {
  Joiner joiner(layer_sizes, visit);
  uint64_t offset = extent.offset;
  while (offset < extent.end()) {
    const uint64_t length = std::min(kStep, extent.end() - offset);
    const absl::StatusOr<SegmentList> segments = disk.Map({offset, length});
    if (!segments.ok()) {
      const absl::Status status = joiner.Finish();
      return status.ok() ? segments.status() : status;
    }
    for (const Segment& segment : *segments) {
      const absl::Status status = joiner.Add({offset, segment});
      if (!status.ok()) return status;
      offset += segment.length;
    }
  }
  return joiner.Finish();
}

}  // namespace flatcow::tool
