// SPDX-License-Identifier: Apache-2.0
//
// An overlay without a backing file, in memory and open as an image: for whole
// requests, all of the way from the guest to the file.
//
//   MemoryImage disk("qed", /*clusters=*/1024, /*allocated=*/512);
//   disk.WriteSector(/*cluster=*/7);
#ifndef FLATCOW_BENCH_MEMORY_IMAGE_H_
#define FLATCOW_BENCH_MEMORY_IMAGE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "flatcow/image.h"
#include "memory_overlay.h"
#include "need.h"
#include "support/memory_file_system.h"

namespace flatcow::bench {

class MemoryImage {
 public:
  // The first `allocated` clusters are.
  MemoryImage(const std::string& format, uint64_t clusters,
              uint64_t allocated) {
    CreateOverlay(files_, "/disk", {.format = format, .clusters = clusters});
    {
      MemoryOverlay overlay(files_, "/disk");
      for (uint64_t i = 0; i < allocated; ++i) overlay.AllocateCluster(i);
      overlay.Round();
    }
    image_ = Need(OpenImage(files_, "/disk", {.access = Access::kReadWrite}));
    // Now their pages are there.
    for (uint64_t i = 0; i < allocated; ++i) WriteSector(i);
  }

  // 512 bytes, so that the time is not that of copying them. Thread-safe.
  void WriteSector(uint64_t cluster) {
    Need(image_->Write(cluster * kClusterBytes, kSector).status());
  }

 private:
  static constexpr std::array<uint8_t, 512> kSector = {1};

  MemoryFileSystem files_;
  std::unique_ptr<Image> image_;
};

}  // namespace flatcow::bench

#endif  // FLATCOW_BENCH_MEMORY_IMAGE_H_
