// SPDX-License-Identifier: Apache-2.0
#include "fuzz/prepared_chains.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "model/disk_model.h"
#include "model/draft_image.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

constexpr uint32_t kCluster = 4096;

// Data and zeroes of the image's own.
void UseImage(MemoryFileSystem& files, std::vector<uint8_t>& content) {
  const auto image = Must(OpenImage(files, kChainImage, Writable()));
  const std::vector<uint8_t> data = Pattern(0x70, kCluster + 700);
  const Extent zeroes{6 * kCluster, kCluster + 100};
  Must(image->Write(kCluster / 2, data).status());
  Must(image->WriteZeroes(zeroes));
  Must(image->Flush());
  std::copy(data.begin(), data.end(), content.begin() + kCluster / 2);
  std::fill_n(content.begin() + static_cast<ptrdiff_t>(zeroes.offset),
              zeroes.length, 0);
}

PreparedChain Prepare(const ChainShape& shape) {
  PreparedChain chain;
  chain.files = std::make_unique<MemoryFileSystem>();
  chain.content = MakeChain(*chain.files, shape);
  UseImage(*chain.files, chain.content);
  NewImage sibling{.format = "qed", .size = 4 * kCluster};
  sibling.cluster_size = kCluster;
  if (shape.base_clusters != 0) {
    sibling.backing_file = "base.raw";
    sibling.backing_format = "raw";
  }
  Make(*chain.files, kSiblingImage, sibling);
  return chain;
}

// On no base, and on one that is shorter and one that is longer than the disk.
void AddChains(const std::vector<std::string>& formats,
               std::vector<PreparedChain>& chains) {
  for (const uint64_t base_clusters :
       {uint64_t{0}, uint64_t{9}, uint64_t{20}}) {
    chains.push_back(Prepare({.formats = formats,
                              .cluster_size = kCluster,
                              .base_clusters = base_clusters,
                              .base_odd = base_clusters != 0 ? 333u : 0u,
                              .disk_clusters = 12,
                              .disk_odd = 512}));
  }
}

}  // namespace

const std::vector<PreparedChain>& PreparedChains() {
  static const auto& chains = *[] {
    const std::vector<std::vector<std::string>> formats = {
        {"qed"},
        {"add-cow"},
        {"qed", "add-cow"},
        {"add-cow", "qed"},
        {"add-cow/qed"},
        {"qed", "add-cow/qed"}};
    auto* const result = new std::vector<PreparedChain>;
    for (const auto& layers : formats) AddChains(layers, *result);
    for (const char* const draft : {"june2012", "july2012"}) {
      result->push_back(Prepare({.formats = {draft},
                                 .cluster_size = kDraftClusterBytes,
                                 .base_clusters = 2,
                                 .base_odd = 333,
                                 .disk_clusters = 3,
                                 .disk_odd = 512}));
    }
    // Behind the others: inputs name a chain by its number.
    AddChains({"qcow2"}, *result);
    AddChains({"qed", "qcow2"}, *result);
    AddChains({"qcow2", "qcow2"}, *result);
    result->push_back(Prepare({.formats = {kDataFileIsDisk},
                               .cluster_size = kCluster,
                               .disk_clusters = 12,
                               .disk_odd = 512}));
    return result;
  }();
  return chains;
}

}  // namespace flatcow
