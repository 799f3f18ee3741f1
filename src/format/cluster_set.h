// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_CLUSTER_SET_H_
#define FLATCOW_FORMAT_CLUSTER_SET_H_

#include <algorithm>
#include <bitset>
#include <cstdint>
#include <memory>

#include "absl/container/flat_hash_map.h"

namespace flatcow {

// The clusters of a file that something refers to. Memory grows with what is
// added, not with the file: a sparse file can claim to have any size.
class ClusterSet {
 public:
  // Return values: false when the cluster was in the set already.
  bool Add(uint64_t cluster) {
    std::unique_ptr<Block>& block = blocks_[cluster / kBlockClusters];
    if (block == nullptr) block = std::make_unique<Block>();
    const size_t bit = cluster % kBlockClusters;
    if (block->test(bit)) return false;
    block->set(bit);
    ++count_;
    end_ = std::max(end_, cluster + 1);
    return true;
  }

  bool Contains(uint64_t cluster) const {
    const auto block = blocks_.find(cluster / kBlockClusters);
    return block != blocks_.end() &&
           block->second->test(cluster % kBlockClusters);
  }

  uint64_t count() const { return count_; }
  uint64_t end() const { return end_; }  // the last cluster's successor

 private:
  static constexpr uint64_t kBlockClusters = 512;
  using Block = std::bitset<kBlockClusters>;

  absl::flat_hash_map<uint64_t, std::unique_ptr<Block>> blocks_;
  uint64_t count_ = 0;
  uint64_t end_ = 0;
};

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_CLUSTER_SET_H_
