// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QED_TABLE_SET_H_
#define FLATCOW_FORMAT_QED_TABLE_SET_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "flatcow/extent.h"

namespace flatcow::qed {

// Where the L2 tables of an image are, so that a data cluster that overlaps one
// is recognised. Tables are only added at the end of the file, so the set stays
// sorted, and readers need no lock.
class TableSet {
 public:
  // `offsets` ascending, of tables that do not overlap. Precondition:
  // `capacity`, the room for those added later too, is at least offsets.size().
  TableSet(const std::vector<uint64_t>& offsets, size_t capacity,
           uint64_t table_bytes)
      : table_bytes_(table_bytes), offsets_(new uint64_t[capacity]) {
    std::copy(offsets.begin(), offsets.end(), offsets_.get());
    count_ = offsets.size();
  }

  // Not thread-safe against itself. Precondition: behind all others.
  void Append(uint64_t offset) {
    const size_t count = count_.load(std::memory_order_relaxed);
    offsets_[count] = offset;
    count_.store(count + 1, std::memory_order_release);
  }

  // The first table that shares a byte with `host`.
  std::optional<uint64_t> FirstOverlap(Extent host) const {
    const uint64_t* const begin = offsets_.get();
    const uint64_t* const end = begin + count_.load(std::memory_order_acquire);
    const uint64_t* const table = std::lower_bound(
        begin, end, host.offset, [this](uint64_t offset, uint64_t at) {
          return offset + table_bytes_ <= at;
        });
    if (table == end || *table >= host.end()) return std::nullopt;
    return *table;
  }

 private:
  const uint64_t table_bytes_;
  const std::unique_ptr<uint64_t[]> offsets_;
  std::atomic<size_t> count_{0};
};

}  // namespace flatcow::qed

#endif  // FLATCOW_FORMAT_QED_TABLE_SET_H_
