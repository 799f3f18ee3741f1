// SPDX-License-Identifier: Apache-2.0
//
// Copy-on-write.
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "image/edge_buffer.h"
#include "image/overlay.h"

namespace flatcow {
namespace {

iovec PieceOf(const uint8_t* data, uint64_t length) {
  return {const_cast<uint8_t*>(data), static_cast<size_t>(length)};
}

}  // namespace

Extent Overlay::ClustersOf(Extent extent) const {
  const uint64_t cluster_size = chain_.top().cluster_size();
  const uint64_t begin = RoundDown(extent.offset, cluster_size);
  return {begin, RoundUp(extent.end(), cluster_size) - begin};
}

absl::StatusOr<size_t> Overlay::Write(uint64_t guest_offset,
                                      absl::Span<const uint8_t> data) {
  IoGate::Shared inside(gate_);
  RETURN_IF_ERROR(CheckWritable());
  if (data.empty()) return 0;
  const uint64_t size = Size();
  if (guest_offset >= size) {
    return MakeError(ENOSPC,
                     absl::StrCat(info_.path, ": write at ", guest_offset,
                                  ": the disk ends at ", size));
  }
  const uint64_t length = std::min<uint64_t>(data.size(), size - guest_offset);
  for (uint64_t done = 0; done < length;) {
    const Extent rest{guest_offset + done, length - done};
    ASSIGN_OR_RETURN(const Mapping mapping, chain_.top().Map(rest));
    if (mapping.kind == Mapping::Kind::kData) {
      RETURN_IF_ERROR(WriteInPlace(mapping, data.data() + done));
    } else {
      RETURN_IF_ERROR(
          WriteAllocating({rest.offset, mapping.length}, data.data() + done));
    }
    done += mapping.length;
  }
  RETURN_IF_ERROR(FlushIfCacheIsFull());
  return static_cast<size_t>(length);
}

absl::Status Overlay::WriteInPlace(const Mapping& mapping,
                                   const uint8_t* data) {
  const iovec piece = PieceOf(data, mapping.length);
  absl::Status status = chain_.top().data_file().Write(
      mapping.host_offset, absl::MakeConstSpan(&piece, 1));
  // A failed one may have written a part, which the guest sees from now on.
  NoteDataWritten();
  return status;
}

absl::Status Overlay::WriteAllocating(Extent extent, const uint8_t* data) {
  ShardedRangeLock::Hold hold(ranges_, ClustersOf(extent));
  for (uint64_t done = 0; done < extent.length;) {
    const Extent rest{extent.offset + done, extent.length - done};
    ASSIGN_OR_RETURN(const Mapping mapping, chain_.top().Map(rest));
    if (mapping.kind == Mapping::Kind::kData) {
      RETURN_IF_ERROR(WriteInPlace(mapping, data + done));
      done += mapping.length;
    } else {
      ASSIGN_OR_RETURN(
          const uint64_t allocated,
          AllocateClusters({rest.offset, mapping.length}, data + done));
      done += allocated;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Overlay::AllocateClusters(Extent extent,
                                                   const uint8_t* data) {
  Layer& layer = chain_.top();
  ASSIGN_OR_RETURN(const Reservation reservation,
                   layer.Reserve(ClustersOf(extent)));
  const uint64_t done =
      std::min(extent.end(), reservation.guest_offset + reservation.length) -
      extent.offset;
  const Extent written = data != nullptr ? Extent{extent.offset, done}
                                         : Extent{reservation.guest_offset, 0};
  if (absl::Status status = FillReserved(reservation, written, data);
      !status.ok()) {
    layer.Release(reservation);
    return status;
  }
  NoteDataWritten();
  RETURN_IF_ERROR(Publish(reservation));
  return done;
}

absl::Status Overlay::Publish(const Reservation& reservation) {
  RETURN_IF_ERROR(chain_.top().Publish(reservation));
  allocated_clusters_.fetch_add(
      reservation.length / chain_.top().cluster_size(),
      std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::Status Overlay::FillReserved(const Reservation& reservation,
                                   Extent written, const uint8_t* data) {
  Layer& layer = chain_.top();
  File& file = layer.data_file();
  const uint64_t begin = reservation.guest_offset;
  uint64_t end = begin + reservation.length;
  if (!layer.needs_whole_clusters()) end = std::min(end, layer.size());
  const auto host_of = [&](uint64_t guest_offset) {
    return reservation.host_offset + guest_offset - begin;
  };
  if (data == nullptr) {
    RETURN_IF_ERROR(file.Allocate({reservation.host_offset, end - begin}));
  }

  Extent head{begin, written.offset - begin};
  Extent tail{written.end(), end - written.end()};
  for (Extent* edge : {&head, &tail}) {
    if (!reservation.reads_zero || edge->length == 0) continue;
    ASSIGN_OR_RETURN(const bool zero, ReadsZero(*edge));
    if (zero) edge->length = 0;
  }
  std::optional<EdgeBuffer> buffer;
  absl::Span<uint8_t> old;
  const uint64_t edges_length = head.length + tail.length;
  if (edges_length != 0) {
    old = buffer.emplace().bytes();
    copied_bytes_.fetch_add(edges_length, std::memory_order_relaxed);
  }
  if (edges_length > old.size()) {
    RETURN_IF_ERROR(CopyOld(head, host_of(head.offset), old));
    RETURN_IF_ERROR(CopyOld(tail, host_of(tail.offset), old));
    head.length = 0;
    tail.length = 0;
  }

  // Edges that fit go out in one write with the data.
  std::array<iovec, 3> pieces;
  size_t count = 0;
  uint8_t* const edges = old.data();
  if (head.length != 0) {
    RETURN_IF_ERROR(ReadInside(head, edges));
    pieces[count++] = PieceOf(edges, head.length);
  }
  if (written.length != 0) {
    pieces[count++] = PieceOf(data, written.length);
  }
  if (tail.length != 0) {
    RETURN_IF_ERROR(ReadInside(tail, edges + head.length));
    pieces[count++] = PieceOf(edges + head.length, tail.length);
  }
  if (count == 0) return absl::OkStatus();
  return file.Write(host_of(written.offset - head.length),
                    absl::MakeConstSpan(pieces).first(count));
}

absl::Status Overlay::CopyOld(Extent old, uint64_t host_offset,
                              absl::Span<uint8_t> buffer) {
  File& file = chain_.top().data_file();
  while (old.length != 0) {
    const uint64_t length = std::min<uint64_t>(old.length, buffer.size());
    RETURN_IF_ERROR(ReadInside({old.offset, length}, buffer.data()));
    const iovec piece = PieceOf(buffer.data(), length);
    RETURN_IF_ERROR(file.Write(host_offset, absl::MakeConstSpan(&piece, 1)));
    old = {old.offset + length, old.length - length};
    host_offset += length;
  }
  return absl::OkStatus();
}

}  // namespace flatcow
