// SPDX-License-Identifier: Apache-2.0
//
// A RangeLock in parts, so that requests for places apart seldom even share a
// mutex: which of the parts a range is locked in follows from where it is.
#ifndef FLATCOW_IMAGE_SHARDED_RANGE_LOCK_H_
#define FLATCOW_IMAGE_SHARDED_RANGE_LOCK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "flatcow/extent.h"
#include "image/range_lock.h"

namespace flatcow {

class ShardedRangeLock {
  static constexpr size_t kShards = 16;

 public:
  // As RangeLock::Hold.
  class Hold {
   public:
    // Ranges that overlap meet in some shard. In ascending order, so that two
    // never wait for each other.
    Hold(ShardedRangeLock& lock, Extent range) {
      const uint32_t shards = ShardsOf(range);
      for (size_t i = 0; i < kShards; ++i) {
        if ((shards >> i & 1) != 0) holds_[i].emplace(lock.shards_[i], range);
      }
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    std::array<std::optional<RangeLock::Hold>, kShards> holds_;
  };

 private:
  struct alignas(64) Shard : RangeLock {};

  // One bit for each shard that the range is locked in.
  static uint32_t ShardsOf(Extent range) {
    constexpr uint64_t kRegionBytes = 1 << 20;
    constexpr uint64_t kAllRegions = 4 * kShards;
    const uint64_t first = range.offset / kRegionBytes;
    const uint64_t last =
        (range.offset + (range.length == 0 ? 0 : range.length - 1)) /
        kRegionBytes;
    if (last - first >= kAllRegions) return (uint32_t{1} << kShards) - 1;
    uint32_t shards = 0;
    for (uint64_t region = first; region <= last; ++region) {
      shards |= uint32_t{1} << ((region * 0x9e3779b97f4a7c15) >> 60);
    }
    return shards;
  }

  std::array<Shard, kShards> shards_;
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_SHARDED_RANGE_LOCK_H_
