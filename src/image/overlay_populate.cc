// SPDX-License-Identifier: Apache-2.0
//
// Making clusters the image's own without a write from the guest.
#include <algorithm>

#include "base/status_macros.h"
#include "image/edge_buffer.h"
#include "image/overlay.h"

namespace flatcow {
namespace {

// How much of what lies below is looked at, and locked, in one go.
constexpr uint64_t kRunBytes = uint64_t{1} << 30;

}  // namespace

absl::StatusOr<uint64_t> Overlay::Populate(Extent extent) {
  IoGate::Shared inside(gate_);
  RETURN_IF_ERROR(CheckWritable());
  RETURN_IF_ERROR(CheckInside(extent, "populating"));
  uint64_t copied = 0;
  while (extent.length != 0) {
    const Extent run{extent.offset, std::min(extent.length, kRunBytes)};
    ShardedRangeLock::Hold hold(ranges_, ClustersOf(run));
    ASSIGN_OR_RETURN(const Mapping mapping, chain_.top().Map(run));
    if (mapping.kind == Mapping::Kind::kBacking) {
      ASSIGN_OR_RETURN(
          const uint64_t bytes,
          PopulateUnmapped(ClustersOf({run.offset, mapping.length})));
      copied += bytes;
    }
    extent = {extent.offset + mapping.length, extent.length - mapping.length};
  }
  RETURN_IF_ERROR(FlushIfCacheIsFull());
  return copied;
}

// Runs of clusters with data in them are copied, the others marked.
absl::StatusOr<uint64_t> Overlay::PopulateUnmapped(Extent clusters) {
  SegmentList segments;
  RETURN_IF_ERROR(chain_.Resolve(clusters, Detail::kExact, segments));
  uint64_t copied = 0;
  Extent data{clusters.offset, 0};  // what is before it is done
  const auto copy_data = [&]() -> absl::Status {
    if (data.length == 0) return absl::OkStatus();
    ASSIGN_OR_RETURN(const uint64_t bytes, CopyUp(data));
    copied += bytes;
    return absl::OkStatus();
  };
  uint64_t at = clusters.offset;
  for (const Segment& segment : segments) {
    if (segment.kind == Segment::Kind::kData) {
      const Extent touched = ClustersOf({at, segment.length});
      if (touched.offset > data.end()) {
        RETURN_IF_ERROR(copy_data());
        RETURN_IF_ERROR(MarkZero({data.end(), touched.offset - data.end()}));
        data = {touched.offset, 0};
      }
      data.length = touched.end() - data.offset;
    }
    at += segment.length;
  }
  RETURN_IF_ERROR(copy_data());
  RETURN_IF_ERROR(MarkZero({data.end(), clusters.end() - data.end()}));
  return copied;
}

absl::StatusOr<uint64_t> Overlay::CopyUp(Extent clusters) {
  Layer& layer = chain_.top();
  uint64_t copied = 0;
  while (clusters.length != 0) {
    ASSIGN_OR_RETURN(const Reservation reservation, layer.Reserve(clusters));
    const auto filled = FillFromBelow(reservation);
    if (!filled.ok()) {
      layer.Release(reservation);
      return filled.status();
    }
    NoteDataWritten();
    RETURN_IF_ERROR(Publish(reservation));
    copied_bytes_.fetch_add(*filled, std::memory_order_relaxed);
    copied += *filled;
    clusters = {clusters.offset + reservation.length,
                clusters.length - reservation.length};
  }
  return copied;
}

absl::StatusOr<uint64_t> Overlay::FillFromBelow(
    const Reservation& reservation) {
  Layer& layer = chain_.top();
  uint64_t length = reservation.length;
  if (!layer.needs_whole_clusters()) {
    length = std::min(length, layer.size() - reservation.guest_offset);
  }
  SegmentList segments;
  RETURN_IF_ERROR(chain_.Resolve({reservation.guest_offset, length},
                                 Detail::kExact, segments));
  File& file = layer.data_file();
  EdgeBuffer buffer;
  uint64_t copied = 0;
  uint64_t done = 0;
  for (const Segment& segment : segments) {
    const Extent host{reservation.host_offset + done, segment.length};
    const uint64_t guest_offset = reservation.guest_offset + done;
    done += segment.length;
    if (segment.kind == Segment::Kind::kZero) {
      if (!reservation.reads_zero) RETURN_IF_ERROR(file.Zero(host));
      continue;
    }
    ASSIGN_OR_RETURN(const uint64_t by_host,
                     file.CopyFrom(*segment.file, segment.host_offset, host,
                                   HostCopy::kAny));
    RETURN_IF_ERROR(CopyOld({guest_offset + by_host, segment.length - by_host},
                            host.offset + by_host, buffer.bytes()));
    copied += segment.length;
  }
  return copied;
}

}  // namespace flatcow
