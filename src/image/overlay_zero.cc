// SPDX-License-Identifier: Apache-2.0
//
// Zeroing exactly what was asked for, and allocating ahead of writes.
//
// This layer's data is zeroed where it stands, whatever the alignment. What
// lies below: whole clusters get zero state, parts of a cluster are written.
#include <algorithm>
#include <array>

#include "base/checked_math.h"
#include "base/status_macros.h"
#include "image/overlay.h"

namespace flatcow {
namespace {

// How much of what lies below is looked at in one go.
constexpr uint64_t kResolveBytes = uint64_t{1} << 30;

constexpr std::array<uint8_t, 64 << 10> kZeroes{};

}  // namespace

absl::Status Overlay::WriteZeroes(Extent extent) {
  IoGate::Shared inside(gate_);
  RETURN_IF_ERROR(CheckWritable());
  RETURN_IF_ERROR(CheckInside(extent, "zeroing"));
  return ZeroInside(extent);
}

absl::Status Overlay::Discard(Extent extent) {
  IoGate::Shared inside(gate_);
  RETURN_IF_ERROR(CheckWritable());
  const uint64_t cluster_size = chain_.top().cluster_size();
  const uint64_t size = Size();
  if (extent.offset >= size) return absl::OkStatus();
  const uint64_t asked_end =
      extent.offset + std::min(extent.length, size - extent.offset);
  const uint64_t end =
      asked_end == size ? size : RoundDown(asked_end, cluster_size);
  const uint64_t begin = RoundUp(extent.offset, cluster_size);
  if (begin >= end) return absl::OkStatus();
  return ZeroInside({begin, end - begin});
}

absl::Status Overlay::ZeroInside(Extent extent) {
  while (extent.length != 0) {
    ASSIGN_OR_RETURN(const Mapping mapping, chain_.top().Map(extent));
    if (mapping.kind == Mapping::Kind::kData) {
      RETURN_IF_ERROR(ZeroInPlace(mapping));
      RETURN_IF_ERROR(MarkZeroed({extent.offset, mapping.length}));
    } else if (mapping.kind == Mapping::Kind::kBacking) {
      RETURN_IF_ERROR(ZeroRun({extent.offset, mapping.length}));
    }
    extent = {extent.offset + mapping.length, extent.length - mapping.length};
  }
  return FlushIfCacheIsFull();
}

absl::Status Overlay::ZeroInPlace(const Mapping& mapping) {
  absl::Status status =
      chain_.top().data_file().Zero({mapping.host_offset, mapping.length});
  NoteDataWritten();
  return status;
}

// What is written in place meanwhile was under way at the same time as the
// zeroing, and may come before it.
absl::Status Overlay::MarkZeroed(Extent run) {
  Layer& layer = chain_.top();
  if (!layer.marks_zeroed_data()) return absl::OkStatus();
  const Extent whole = WholeClustersOf(run);
  if (whole.length == 0) return absl::OkStatus();
  const Extent clusters = ClustersOf(whole);
  ShardedRangeLock::Hold hold(ranges_, clusters);
  return layer.MarkZero(clusters);
}

// A run that was unallocated when it was looked at.
absl::Status Overlay::ZeroRun(Extent run) {
  const Extent whole = WholeClustersOf(run);
  RETURN_IF_ERROR(ZeroPart({run.offset, whole.offset - run.offset}));
  RETURN_IF_ERROR(ZeroClusters(whole));
  return ZeroPart({whole.end(), run.end() - whole.end()});
}

// The last cluster of the disk is whole where the disk ends.
Extent Overlay::WholeClustersOf(Extent run) const {
  const uint64_t cluster_size = chain_.top().cluster_size();
  const uint64_t first = std::min(RoundUp(run.offset, cluster_size), run.end());
  const uint64_t last =
      run.end() == Size() ? run.end()
                          : std::max(first, RoundDown(run.end(), cluster_size));
  return {first, last - first};
}

// Part of one cluster.
absl::Status Overlay::ZeroPart(Extent part) {
  if (part.length == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool zero, ReadsZero(part));
  if (zero) return absl::OkStatus();
  while (part.length != 0) {
    const uint64_t length = std::min<uint64_t>(part.length, kZeroes.size());
    RETURN_IF_ERROR(WriteAllocating({part.offset, length}, kZeroes.data()));
    part = {part.offset + length, part.length - length};
  }
  return absl::OkStatus();
}

absl::Status Overlay::ZeroClusters(Extent clusters) {
  if (clusters.length == 0) return absl::OkStatus();
  ShardedRangeLock::Hold hold(ranges_, ClustersOf(clusters));
  while (clusters.length != 0) {
    ASSIGN_OR_RETURN(
        const Mapping mapping,
        chain_.top().Map(
            {clusters.offset, std::min(clusters.length, kResolveBytes)}));
    if (mapping.kind == Mapping::Kind::kData) {
      RETURN_IF_ERROR(ZeroInPlace(mapping));
    } else if (mapping.kind == Mapping::Kind::kBacking) {
      RETURN_IF_ERROR(ZeroUnmapped({clusters.offset, mapping.length}));
    }
    clusters = {clusters.offset + mapping.length,
                clusters.length - mapping.length};
  }
  return absl::OkStatus();
}

// Clusters with nothing below them read as zeroes already; giving those a state
// would cost metadata for the whole of a trimmed disk.
absl::Status Overlay::ZeroUnmapped(Extent clusters) {
  SegmentList segments;
  RETURN_IF_ERROR(chain_.Resolve(clusters, Detail::kExact, segments));
  Extent pending{clusters.offset, 0};
  uint64_t at = clusters.offset;
  for (const Segment& segment : segments) {
    if (segment.allocated) {
      const uint64_t end = ClustersOf({at, segment.length}).end();
      const uint64_t begin =
          std::max(pending.end(), ClustersOf({at, segment.length}).offset);
      if (begin != pending.end()) {
        RETURN_IF_ERROR(MarkZero(pending));
        pending = {begin, 0};
      }
      pending.length = std::max(end, pending.end()) - pending.offset;
    }
    at += segment.length;
  }
  return MarkZero(pending);
}

absl::Status Overlay::MarkZero(Extent clusters) {
  if (clusters.length == 0) return absl::OkStatus();
  Layer& layer = chain_.top();
  if (layer.has_zero_state()) return layer.MarkZero(clusters);
  while (clusters.length != 0) {
    ASSIGN_OR_RETURN(const Reservation reservation, layer.Reserve(clusters));
    const uint64_t end =
        std::min(layer.size(), clusters.offset + reservation.length);
    if (absl::Status status = layer.data_file().Zero(
            {reservation.host_offset, end - clusters.offset});
        !status.ok()) {
      layer.Release(reservation);
      return status;
    }
    NoteDataWritten();
    RETURN_IF_ERROR(layer.Publish(reservation));
    clusters = {clusters.offset + reservation.length,
                clusters.length - reservation.length};
  }
  return absl::OkStatus();
}

absl::Status Overlay::Allocate(Extent extent) {
  IoGate::Shared inside(gate_);
  RETURN_IF_ERROR(CheckWritable());
  RETURN_IF_ERROR(CheckInside(extent, "allocating"));
  while (extent.length != 0) {
    ASSIGN_OR_RETURN(const Mapping mapping, chain_.top().Map(extent));
    if (mapping.kind == Mapping::Kind::kData) {
      RETURN_IF_ERROR(chain_.top().data_file().Allocate(
          {mapping.host_offset, mapping.length}));
    } else {
      RETURN_IF_ERROR(AllocateRun({extent.offset, mapping.length}));
    }
    extent = {extent.offset + mapping.length, extent.length - mapping.length};
  }
  return FlushIfCacheIsFull();
}

absl::Status Overlay::AllocateRun(Extent run) {
  ShardedRangeLock::Hold hold(ranges_, ClustersOf(run));
  while (run.length != 0) {
    ASSIGN_OR_RETURN(const Mapping mapping, chain_.top().Map(run));
    uint64_t done = mapping.length;
    if (mapping.kind == Mapping::Kind::kData) {
      RETURN_IF_ERROR(chain_.top().data_file().Allocate(
          {mapping.host_offset, mapping.length}));
    } else {
      ASSIGN_OR_RETURN(done,
                       AllocateClusters({run.offset, mapping.length}, nullptr));
    }
    run = {run.offset + done, run.length - done};
  }
  return absl::OkStatus();
}

}  // namespace flatcow
