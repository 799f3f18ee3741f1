// SPDX-License-Identifier: Apache-2.0
#include "memory_overlay.h"

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "io/syncer.h"
#include "need.h"

namespace flatcow::bench {
namespace {

constexpr size_t kCacheBytes = 16 << 20;

}  // namespace

void CreateRaw(FileSystem& files, const std::string& path, uint64_t length) {
  Need(Need(files.Create(path))->Truncate(length));
}

void CreateOverlay(FileSystem& files, const std::string& path,
                   const NewOverlay& overlay) {
  CreateOptions options;
  options.format = overlay.format;
  options.size = overlay.clusters * kClusterBytes;
  options.backing_file = overlay.backing_file;
  options.backing_format = overlay.backing_format;
  options.cluster_size = kClusterBytes;
  if (overlay.format == "add-cow") {
    options.data_file = absl::StrCat(path, ".data");
    CreateRaw(files, options.data_file, *options.size);
  }
  Need(CreateImage(files, path, options).status());
}

MemoryOverlay::MemoryOverlay(FileSystem& files, const std::string& path)
    : opened_(Need(OpenChain(files, path, {.access = Access::kReadWrite},
                             NewMetadataCache(kCacheBytes)))) {}

void MemoryOverlay::AllocateCluster(uint64_t cluster) {
  Need(layer().Publish(
      Need(layer().Reserve({cluster * kClusterBytes, kClusterBytes}))));
}

void MemoryOverlay::Round() {
  Syncer syncer;
  layer().BeginRound();
  Need(layer().WriteRound(syncer));
}

}  // namespace flatcow::bench
