// SPDX-License-Identifier: Apache-2.0
//
// Index arithmetic of the refcounts: cluster -> refcount table entry, bits in a
// refcount block. Counts of less than a byte stand in it from the least
// significant bit on, the others are big-endian.
#ifndef FLATCOW_FORMAT_QCOW2_REFCOUNTS_H_
#define FLATCOW_FORMAT_QCOW2_REFCOUNTS_H_

#include <cstdint>

#include "base/byte_order.h"
#include "format/qcow2/header.h"

namespace flatcow::qcow2 {

class Refcounts {
 public:
  explicit Refcounts(const Header& header)
      : order_(header.refcount_order), block_bits_(header.cluster_bits + 3) {}

  // Clusters that one refcount block counts for.
  uint64_t per_block() const { return uint64_t{1} << (block_bits_ - order_); }
  uint64_t BlockOf(uint64_t cluster) const { return cluster / per_block(); }

  // The word of the file that holds the count, in the block at `block_offset`.
  uint64_t WordOf(uint64_t block_offset, uint64_t cluster) const {
    return block_offset / sizeof(uint64_t) + (BitOf(cluster) / 64);
  }

  // `word` as it was read, little-endian.
  uint64_t Get(uint64_t word, uint64_t cluster) const {
    return Swap((word >> (BitOf(cluster) % 64)) & mask());
  }
  uint64_t Set(uint64_t word, uint64_t cluster, uint64_t count) const {
    const uint64_t shift = BitOf(cluster) % 64;
    return (word & ~(mask() << shift)) | (Swap(count) << shift);
  }

  // The first cluster that a word of a block counts for, and how many.
  uint64_t per_word() const { return uint64_t{64} >> order_; }

 private:
  uint64_t BitOf(uint64_t cluster) const {
    return (cluster % per_block()) << order_;
  }
  uint64_t mask() const {
    return order_ == 6 ? ~uint64_t{0}
                       : (uint64_t{1} << (uint64_t{1} << order_)) - 1;
  }
  uint64_t Swap(uint64_t count) const {
    return order_ <= 3 ? count : SwapBytes(count) >> (64 - (1 << order_));
  }

  uint32_t order_;
  uint32_t block_bits_;
};

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_REFCOUNTS_H_
