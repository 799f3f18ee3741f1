// SPDX-License-Identifier: Apache-2.0
//
// QED's index arithmetic: guest offset -> L1 index, L2 index, byte in cluster.
#ifndef FLATCOW_FORMAT_QED_GEOMETRY_H_
#define FLATCOW_FORMAT_QED_GEOMETRY_H_

#include <bit>
#include <cstdint>

#include "base/checked_math.h"
#include "flatcow/extent.h"
#include "format/qed/header.h"

namespace flatcow::qed {

// The two values of an L2 entry that are not offsets.
inline constexpr uint64_t kUnallocated = 0;
inline constexpr uint64_t kZeroCluster = 1;

class Geometry {
 public:
  explicit Geometry(const Header& header)
      : cluster_bits_(std::countr_zero(header.cluster_size)),
        entry_bits_(std::countr_zero(header.table_entries())),
        table_bytes_(header.table_bytes()),
        header_bytes_(header.header_bytes()),
        l1_offset_(header.l1_table_offset) {}

  uint64_t cluster_size() const { return uint64_t{1} << cluster_bits_; }
  uint64_t table_bytes() const { return table_bytes_; }
  uint64_t table_entries() const { return uint64_t{1} << entry_bits_; }
  uint64_t l1_offset() const { return l1_offset_; }
  Extent l1_extent() const { return {l1_offset_, table_bytes_}; }

  // Guest bytes that one L2 table maps. The geometries of a valid header can
  // exceed 2^63 here; no guest offset does.
  uint64_t table_reach() const {
    const int bits = cluster_bits_ + entry_bits_;
    return bits < 63 ? uint64_t{1} << bits : uint64_t{1} << 63;
  }

  uint64_t L1Index(uint64_t guest_offset) const {
    const int bits = cluster_bits_ + entry_bits_;
    return bits < 63 ? guest_offset >> bits : 0;
  }
  uint64_t L2Index(uint64_t guest_offset) const {
    return (guest_offset >> cluster_bits_) & (table_entries() - 1);
  }

  // L1 entries that a disk of `size` bytes can reach.
  uint64_t ReachableTables(uint64_t size) const {
    return DivideRoundingUp(size, table_reach());
  }

  // Words of metadata, counted from the start of the file.
  uint64_t L1Word(uint64_t l1_index) const {
    return l1_offset_ / sizeof(uint64_t) + l1_index;
  }
  static uint64_t L2Word(uint64_t table_offset, uint64_t l2_index) {
    return table_offset / sizeof(uint64_t) + l2_index;
  }

  // Could `length` bytes at `host_offset` be a table or clusters of a file with
  // `file_end` usable bytes: aligned, past the header, inside the file, clear
  // of the L1 table?
  bool IsPlace(uint64_t host_offset, uint64_t length, uint64_t file_end) const {
    return IsAligned(host_offset, cluster_size()) &&
           host_offset >= header_bytes_ && host_offset < file_end &&
           length <= file_end - host_offset &&
           !Overlaps(host_offset, length, l1_offset_, table_bytes_);
  }

 private:
  int cluster_bits_;
  int entry_bits_;
  uint64_t table_bytes_;
  uint64_t header_bytes_;
  uint64_t l1_offset_;
};

}  // namespace flatcow::qed

#endif  // FLATCOW_FORMAT_QED_GEOMETRY_H_
