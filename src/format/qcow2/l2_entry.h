// SPDX-License-Identifier: Apache-2.0
//
// Entries of L1 and L2 tables, as numbers.
#ifndef FLATCOW_FORMAT_QCOW2_L2_ENTRY_H_
#define FLATCOW_FORMAT_QCOW2_L2_ENTRY_H_

#include <bit>
#include <cstdint>

#include "base/byte_order.h"
#include "flatcow/extent.h"
#include "format/qcow2/header.h"
#include "format/table_geometry.h"

namespace flatcow::qcow2 {

inline constexpr uint64_t kOffsetMask = 0x00fffffffffffe00;
inline constexpr uint64_t kEntryZero = 1;
inline constexpr uint64_t kEntryCompressed = uint64_t{1} << 62;
// The cluster is the image's alone: its refcount is 1. In the L2 table of an
// image with a data file: it is allocated.
inline constexpr uint64_t kEntryCopied = uint64_t{1} << 63;

inline constexpr uint32_t kSubclusters = 32;
// In the second word of an extended entry.
inline constexpr uint64_t kAllSubclusters = 0xffffffff;

// Of a word of the L1 table as it was read.
inline uint64_t TableOffset(uint64_t word) {
  return SwapBytes(word) & kOffsetMask;
}

inline TableGeometry GeometryOf(const Header& header) {
  return TableGeometry(
      {.cluster_bits = static_cast<int>(header.cluster_bits),
       .entry_bits = static_cast<int>(header.entry_bits()),
       .entry_words = header.entry_words(),
       .header_bytes = header.cluster_size(),
       .l1 = {header.l1_offset, header.l1_entries * sizeof(uint64_t)}});
}

// What a unit of the disk is: a cluster, or a subcluster where entries are
// extended.
enum class UnitKind : uint8_t {
  kUnallocated,
  kZero,
  kData,
  kCompressed,
  kBad,
};

// Of a standard entry. Errors: kBad.
inline UnitKind KindOf(uint64_t entry, const Header& header) {
  if ((entry & kEntryCompressed) != 0) {
    return header.has_data_file() ? UnitKind::kBad : UnitKind::kCompressed;
  }
  if ((entry & kEntryZero) != 0 && !header.extended_l2()) {
    return header.version >= 3 ? UnitKind::kZero : UnitKind::kBad;
  }
  if ((entry & kOffsetMask) != 0) return UnitKind::kData;
  // In a data file the first cluster is at 0.
  return header.has_data_file() && (entry & kEntryCopied) != 0
             ? UnitKind::kData
             : UnitKind::kUnallocated;
}

// Of a subcluster, by the second word of its entry, whose first is `cluster`.
inline UnitKind SubclusterKindOf(UnitKind cluster, uint64_t bitmap,
                                 uint32_t subcluster) {
  if (cluster == UnitKind::kCompressed || cluster == UnitKind::kBad) {
    return cluster;
  }
  const bool allocated = ((bitmap >> subcluster) & 1) != 0;
  const bool zero = ((bitmap >> (kSubclusters + subcluster)) & 1) != 0;
  if (allocated && (zero || cluster == UnitKind::kUnallocated)) {
    return UnitKind::kBad;
  }
  if (zero) return UnitKind::kZero;
  return allocated ? UnitKind::kData : UnitKind::kUnallocated;
}

// Where a compressed cluster is: whole sectors, the last of which others may
// share.
inline Extent CompressedPlace(uint64_t entry, uint32_t cluster_bits) {
  constexpr uint64_t kSector = 512;
  const uint32_t offset_bits = 62 - (cluster_bits - 8);
  const uint64_t offset = entry & ((uint64_t{1} << offset_bits) - 1);
  const uint64_t sectors =
      (entry & ~(kEntryCompressed | kEntryCopied)) >> offset_bits;
  return {offset, (sectors + 1) * kSector - offset % kSector};
}

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_L2_ENTRY_H_
