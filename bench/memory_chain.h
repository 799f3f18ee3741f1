// SPDX-License-Identifier: Apache-2.0
//
// A chain of overlays over a raw file, in memory, to resolve ranges of. Each
// cluster is in one of the files, all of them alike.
//
//   MemoryChain chain({.format = "qed", .overlays = 16});
//   GuestOffsets offsets(4096);
//   SegmentList segments;
//   chain.Resolve({offsets.Next(), 4096}, segments);
#ifndef FLATCOW_BENCH_MEMORY_CHAIN_H_
#define FLATCOW_BENCH_MEMORY_CHAIN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "flatcow/extent.h"
#include "memory_overlay.h"
#include "support/memory_file_system.h"

namespace flatcow::bench {

struct ChainRecipe {
  std::string format = "qed";
  uint64_t overlays = 1;
  // True: a cluster's place has nothing to do with its neighbours'. False: each
  // file holds one run, the top overlay the first.
  bool random = true;

  friend auto operator<=>(const ChainRecipe&, const ChainRecipe&) = default;
};

class MemoryChain {
 public:
  static constexpr uint64_t kClusters = 2048;
  static constexpr uint64_t kDiskBytes = kClusters * kClusterBytes;

  // Open for reading, its metadata in the cache.
  explicit MemoryChain(const ChainRecipe& recipe);

  // Appends to `out`, as a read would ask for it. Thread-safe.
  void Resolve(Extent extent, SegmentList& out) const;

 private:
  MemoryFileSystem files_;
  std::unique_ptr<const OpenedChain> opened_;
};

// Offsets of requests all over the disk of a MemoryChain, always the same.
class GuestOffsets {
 public:
  // Multiples of 4096; the requests end within the disk.
  explicit GuestOffsets(uint64_t request_bytes);

  uint64_t Next() { return offsets_[next_++ % offsets_.size()]; }

 private:
  std::array<uint64_t, 1024> offsets_;
  size_t next_ = 0;
};

}  // namespace flatcow::bench

#endif  // FLATCOW_BENCH_MEMORY_CHAIN_H_
