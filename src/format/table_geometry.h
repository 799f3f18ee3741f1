// SPDX-License-Identifier: Apache-2.0
//
// Index arithmetic of two-level tables: guest offset -> L1 index, L2 index,
// byte in cluster. All tables have a power of two of entries, clusters a power
// of two of bytes.
#ifndef FLATCOW_FORMAT_TABLE_GEOMETRY_H_
#define FLATCOW_FORMAT_TABLE_GEOMETRY_H_

#include <cstdint>

#include "base/checked_math.h"
#include "flatcow/extent.h"

namespace flatcow {

class TableGeometry {
 public:
  struct Shape {
    int cluster_bits = 0;
    int entry_bits = 0;        // of the entries of an L2 table
    uint64_t entry_words = 1;  // 64-bit words of an L2 entry
    uint64_t header_bytes = 0;
    Extent l1;  // in the file
  };

  explicit TableGeometry(const Shape& shape) : shape_(shape) {}

  int cluster_bits() const { return shape_.cluster_bits; }
  uint64_t cluster_size() const { return uint64_t{1} << shape_.cluster_bits; }
  uint64_t table_entries() const { return uint64_t{1} << shape_.entry_bits; }
  uint64_t table_bytes() const {
    return table_entries() * shape_.entry_words * sizeof(uint64_t);
  }
  Extent l1_extent() const { return shape_.l1; }

  // Guest bytes that one L2 table maps. The geometries of a valid header can
  // exceed 2^63 here; no guest offset does.
  uint64_t table_reach() const {
    const int bits = shape_.cluster_bits + shape_.entry_bits;
    return bits < 63 ? uint64_t{1} << bits : uint64_t{1} << 63;
  }

  uint64_t L1Index(uint64_t guest_offset) const {
    const int bits = shape_.cluster_bits + shape_.entry_bits;
    return bits < 63 ? guest_offset >> bits : 0;
  }
  uint64_t L2Index(uint64_t guest_offset) const {
    return (guest_offset >> shape_.cluster_bits) & (table_entries() - 1);
  }

  // L1 entries that a disk of `size` bytes can reach.
  uint64_t ReachableTables(uint64_t size) const {
    return DivideRoundingUp(size, table_reach());
  }

  // Words of metadata, counted from the start of the file.
  uint64_t L1Word(uint64_t l1_index) const {
    return shape_.l1.offset / sizeof(uint64_t) + l1_index;
  }
  uint64_t L2Word(uint64_t table_offset, uint64_t l2_index) const {
    return table_offset / sizeof(uint64_t) + l2_index * shape_.entry_words;
  }

  // Could `length` bytes at `host_offset` be a table or clusters of a file with
  // `file_end` usable bytes: aligned, past the header, inside the file, clear
  // of the L1 table?
  bool IsPlace(uint64_t host_offset, uint64_t length, uint64_t file_end) const {
    return IsAligned(host_offset, cluster_size()) &&
           host_offset >= shape_.header_bytes && host_offset < file_end &&
           length <= file_end - host_offset &&
           !Overlaps(host_offset, length, shape_.l1.offset, shape_.l1.length);
  }

 private:
  Shape shape_;
};

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_TABLE_GEOMETRY_H_
