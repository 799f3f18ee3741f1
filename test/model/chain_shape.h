// SPDX-License-Identifier: Apache-2.0
//
// Chains to test with: formats, cluster size, and how the sizes of the image
// and of what lies below it differ.
#ifndef FLATCOW_TEST_MODEL_CHAIN_SHAPE_H_
#define FLATCOW_TEST_MODEL_CHAIN_SHAPE_H_

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "support/memory_file_system.h"

namespace flatcow {

// The image that MakeChain() makes, and its image file, where it has one.
inline constexpr char kChainImage[] = "/disks/top";
inline constexpr char kChainImageFile[] = "/disks/image0";

// Do writes to the image go to this file, too?
inline bool IsWritten(absl::string_view path) {
  return path == kChainImage || absl::StartsWith(path, kChainImageFile);
}

// In place of a format: qcow2 with data-file-raw, which has nothing below it.
inline constexpr char kDataFileIsDisk[] = "qcow2raw";
// qcow2 with extended L2 entries, for clusters of at least 16 KiB.
inline constexpr char kWithSubclusters[] = "qcow2sub";

// Sets the feature bit in an image that is new, and small.
void AddSubclusters(FileSystem& files, const std::string& path);

struct ChainShape {
  std::string name = {};
  // From the image down, without the raw file at the bottom. "add-cow/qed" is
  // an add-cow image with a QED image file, which has a backing file of its
  // own. "june2012" and "july2012" are add-cow images of these drafts, whose
  // clusters have 64 KiB.
  std::vector<std::string> formats = {};
  uint32_t cluster_size = 4096;
  // The raw file's size in clusters, 0 for none, and what is added to it.
  uint64_t base_clusters = 0;
  uint64_t base_odd = 0;
  // The same for the disk.
  uint64_t disk_clusters = 0;
  uint64_t disk_odd = 0;  // a multiple of 512 where QED is written

  uint64_t disk_size() const { return disk_clusters * cluster_size + disk_odd; }
  // Sizes of the disk are multiples of it.
  uint64_t size_unit() const {
    const std::string& format = formats.front();
    const bool sectors =
        absl::EndsWith(format, "qed") || absl::EndsWith(format, "qcow2") ||
        format == kDataFileIsDisk || format == kWithSubclusters;
    return sectors ? 512 : 1;
  }
};

inline void PrintTo(const ChainShape& shape, std::ostream* out) {
  *out << shape.name;
}

// Makes the chain; every overlay but the image holds some data, and image
// files are full of garbage where they may be. Return values: what the image
// shows.
std::vector<uint8_t> MakeChain(MemoryFileSystem& files,
                               const ChainShape& shape);

}  // namespace flatcow

#endif  // FLATCOW_TEST_MODEL_CHAIN_SHAPE_H_
