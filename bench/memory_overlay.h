// SPDX-License-Identifier: Apache-2.0
//
// Overlays in memory whose clusters are allocated without any data: what is
// measured is where bytes are, not the bytes.
//
//   MemoryFileSystem files;
//   CreateOverlay(files, "/a", {.format = "qed", .clusters = 1024});
//   MemoryOverlay overlay(files, "/a");
//   overlay.AllocateCluster(7);
//   overlay.Round();
#ifndef FLATCOW_BENCH_MEMORY_OVERLAY_H_
#define FLATCOW_BENCH_MEMORY_OVERLAY_H_

#include <cstdint>
#include <string>

#include "flatcow/file.h"
#include "image/open_chain.h"

namespace flatcow::bench {

inline constexpr uint64_t kClusterBytes = 65536;  // what qemu-img makes

struct NewOverlay {
  std::string format = "qed";  // or "add-cow", with its image file beside it
  uint64_t clusters = 0;
  std::string backing_file = {};  // empty: none
  std::string backing_format = {};
};

void CreateOverlay(FileSystem& files, const std::string& path,
                   const NewOverlay& overlay);

// An empty file of this length.
void CreateRaw(FileSystem& files, const std::string& path, uint64_t length);

// An overlay open for writing.
class MemoryOverlay {
 public:
  MemoryOverlay(FileSystem& files, const std::string& path);

  Layer& layer() const { return opened_.chain.top(); }

  // Thread-safe for clusters that differ. Precondition: not yet allocated.
  void AllocateCluster(uint64_t cluster);
  // What has been allocated reaches the file.
  void Round();

 private:
  OpenedChain opened_;
};

}  // namespace flatcow::bench

#endif  // FLATCOW_BENCH_MEMORY_OVERLAY_H_
