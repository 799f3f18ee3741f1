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
    const uint64_t number = cluster / kBlockClusters;
    Block* block = Find(number);
    if (block == nullptr) {
      block = (blocks_[number] = std::make_unique<Block>()).get();
      last_block_ = block;
    }
    const size_t bit = cluster % kBlockClusters;
    if (block->test(bit)) return false;
    block->set(bit);
    ++count_;
    end_ = std::max(end_, cluster + 1);
    return true;
  }

  bool Contains(uint64_t cluster) const {
    const Block* const block = Find(cluster / kBlockClusters);
    return block != nullptr && block->test(cluster % kBlockClusters);
  }

  uint64_t count() const { return count_; }
  uint64_t end() const { return end_; }  // the last cluster's successor

 private:
  static constexpr uint64_t kBlockClusters = 512;
  using Block = std::bitset<kBlockClusters>;

  // Null: there is none. Neighbours are asked for one after the other.
  Block* Find(uint64_t number) const {
    if (number != last_number_) {
      const auto found = blocks_.find(number);
      last_number_ = number;
      last_block_ = found != blocks_.end() ? found->second.get() : nullptr;
    }
    return last_block_;
  }

  absl::flat_hash_map<uint64_t, std::unique_ptr<Block>> blocks_;
  uint64_t count_ = 0;
  uint64_t end_ = 0;
  mutable uint64_t last_number_ = UINT64_MAX;  // no block has it
  mutable Block* last_block_ = nullptr;
};

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_CLUSTER_SET_H_
