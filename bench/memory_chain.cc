// SPDX-License-Identifier: Apache-2.0
#include "memory_chain.h"

#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "need.h"

namespace flatcow::bench {
namespace {

constexpr size_t kCacheBytes = 16 << 20;
constexpr uint64_t kOffsetStep = 4096;

std::string OverlayName(uint64_t depth) { return absl::StrCat("/", depth); }

// The depth of the file that holds each cluster. Numbers of the generator
// itself: a distribution gives others with another library.
std::vector<uint64_t> PlacesOf(const ChainRecipe& recipe) {
  const uint64_t files = recipe.overlays + 1;
  std::mt19937_64 numbers(recipe.overlays);
  std::vector<uint64_t> places;
  for (uint64_t i = 0; i < MemoryChain::kClusters; ++i) {
    places.push_back(recipe.random ? numbers() % files
                                   : i * files / MemoryChain::kClusters);
  }
  return places;
}

}  // namespace

MemoryChain::MemoryChain(const ChainRecipe& recipe) {
  CreateRaw(files_, "/base", kDiskBytes);
  const std::vector<uint64_t> places = PlacesOf(recipe);
  for (uint64_t depth = recipe.overlays; depth-- > 0;) {
    const bool lowest = depth + 1 == recipe.overlays;
    CreateOverlay(files_, OverlayName(depth),
                  {.format = recipe.format,
                   .clusters = kClusters,
                   .backing_file = lowest ? "/base" : OverlayName(depth + 1),
                   .backing_format = lowest ? "raw" : recipe.format});
    MemoryOverlay overlay(files_, OverlayName(depth));
    for (uint64_t cluster = 0; cluster < kClusters; ++cluster) {
      if (places[cluster] == depth) overlay.AllocateCluster(cluster);
    }
    overlay.Round();
  }
  opened_ = std::make_unique<const OpenedChain>(Need(OpenChain(
      files_, OverlayName(0), OpenOptions{}, NewMetadataCache(kCacheBytes))));
  SegmentList segments;
  Resolve({0, kDiskBytes}, segments);
}

void MemoryChain::Resolve(Extent extent, SegmentList& out) const {
  Need(opened_->chain.Resolve(extent, Detail::kForIo, out));
}

GuestOffsets::GuestOffsets(uint64_t request_bytes) {
  const uint64_t places =
      (MemoryChain::kDiskBytes - request_bytes) / kOffsetStep + 1;
  std::mt19937_64 numbers(request_bytes);
  for (uint64_t& offset : offsets_) offset = numbers() % places * kOffsetStep;
}

}  // namespace flatcow::bench
