// SPDX-License-Identifier: Apache-2.0
//
// Index arithmetic of the COW bitmap: one bit per cluster, least significant
// bit first, seen as little-endian 64-bit words.
#ifndef FLATCOW_FORMAT_ADDCOW_BITMAP_H_
#define FLATCOW_FORMAT_ADDCOW_BITMAP_H_

#include <algorithm>
#include <bit>
#include <cstdint>

#include "absl/types/span.h"
#include "base/checked_math.h"

namespace flatcow::addcow {

inline constexpr uint64_t kWordBits = 64;

// Length of the bitmap on disk: whole clusters.
constexpr uint64_t BitmapBytes(uint64_t virtual_size, uint64_t cluster_size) {
  const uint64_t clusters = DivideRoundingUp(virtual_size, cluster_size);
  return RoundUp(DivideRoundingUp(clusters, 8), cluster_size);
}

constexpr uint64_t WordOf(uint64_t cluster) { return cluster / kWordBits; }

// Words that hold the bits of `count` clusters. Precondition: count >= 1.
constexpr uint64_t WordCount(uint64_t first_cluster, uint64_t count) {
  return WordOf(first_cluster + count - 1) - WordOf(first_cluster) + 1;
}

// Those bits of word `word` that stand for the clusters [first, first + count).
constexpr uint64_t MaskIn(uint64_t word, uint64_t first, uint64_t count) {
  const uint64_t begin = std::max(first, word * kWordBits);
  const uint64_t end = std::min(first + count, (word + 1) * kWordBits);
  if (begin >= end) return 0;
  const uint64_t bits = end - begin;
  const uint64_t ones =
      bits == kWordBits ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
  return ones << (begin % kWordBits);
}

// How many of the first `limit` bits, from `bit` of words[0] on, are equal to
// the first of them. Precondition: the words hold that many.
constexpr uint64_t EqualRun(absl::Span<const uint64_t> words, uint64_t bit,
                            uint64_t limit) {
  const bool set = ((words[0] >> bit) & 1) != 0;
  uint64_t run = 0;
  for (const uint64_t word : words) {
    // Bits that differ from the first become ones.
    const uint64_t different = (set ? ~word : word) >> bit;
    const uint64_t here = kWordBits - bit;
    const uint64_t equal = std::min<uint64_t>(
        here, static_cast<uint64_t>(std::countr_zero(different)));
    run += equal;
    if (equal < here || run >= limit) break;
    bit = 0;
  }
  return std::min(run, limit);
}

}  // namespace flatcow::addcow

#endif  // FLATCOW_FORMAT_ADDCOW_BITMAP_H_
