// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/build_metadata.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/qcow2/l2_entry.h"
#include "format/qcow2/refcounts.h"

namespace flatcow::qcow2 {
namespace {

// Header fields that change lie between these bytes, in the first sector.
constexpr uint64_t kFieldsBegin = kSizeOffset;
constexpr uint64_t kFieldsEnd = 96;

// Every refcount that a file of so many clusters needs: the blocks count
// themselves, too.
uint64_t BlocksFor(const Refcounts& refcounts, uint64_t clusters) {
  const uint64_t blocks = DivideRoundingUp(clusters, refcounts.per_block());
  // Of 512 bytes with counts of 64 bits a block counts for 64 clusters.
  return blocks + DivideRoundingUp(2 * blocks, refcounts.per_block()) + 1;
}

uint64_t TablesToCome(const Header& header, const MetadataMap& map,
                      uint64_t size) {
  const uint64_t tables =
      GeometryOf(header).ReachableTables(std::max(size, header.size));
  return tables - std::min<uint64_t>(tables, map.tables.size());
}

class Builder {
 public:
  Builder(File& file, const Header& header, MetadataMap map, uint64_t size,
          uint64_t file_size)
      : file_(file),
        header_(header),
        geometry_(GeometryOf(header)),
        refcounts_(header),
        map_(std::move(map)),
        size_(size),
        at_(RoundUp(file_size, header.cluster_size())) {}

  absl::StatusOr<Header> Run(Syncer& syncer);

 private:
  uint64_t cluster_size() const { return header_.cluster_size(); }
  uint64_t Take(uint64_t clusters) {
    return std::exchange(at_, at_ + clusters * cluster_size());
  }
  absl::Status WriteWords(uint64_t offset, absl::Span<const uint64_t> words);

  // The tables that are new in a disk whose data file is the disk; all but the
  // last full.
  absl::Status AddFilledTables();
  absl::Status WriteFilledTable(uint64_t l1_index, uint64_t offset);
  absl::Status WriteL1();
  absl::Status PlaceRefcounts();
  absl::Status WriteRefcounts();

  File& file_;
  Header header_;
  const TableGeometry geometry_;
  const Refcounts refcounts_;
  MetadataMap map_;
  const uint64_t size_;
  uint64_t at_;  // where the next cluster is taken
  bool new_l1_ = false;
  std::vector<uint8_t> buffer_;
};

absl::Status Builder::WriteWords(uint64_t offset,
                                 absl::Span<const uint64_t> words) {
  buffer_.resize(words.size() * sizeof(uint64_t));
  for (size_t i = 0; i < words.size(); ++i) {
    StoreBig64(&buffer_[i * sizeof(uint64_t)], words[i]);
  }
  const iovec piece{buffer_.data(), buffer_.size()};
  return file_.Write(offset, absl::MakeConstSpan(&piece, 1));
}

absl::Status Builder::WriteFilledTable(uint64_t l1_index, uint64_t offset) {
  const uint64_t words = header_.entry_words();
  std::vector<uint64_t> table(geometry_.table_entries() * words);
  const uint64_t begin = l1_index * geometry_.table_reach();
  for (uint64_t i = 0; i < geometry_.table_entries(); ++i) {
    const uint64_t guest = begin + (i << header_.cluster_bits);
    if (guest >= size_) break;
    table[i * words] = guest | kEntryCopied;
    if (words == 2) table[i * words + 1] = kAllSubclusters;
  }
  return WriteWords(offset, table);
}

absl::Status Builder::AddFilledTables() {
  const uint64_t first = geometry_.ReachableTables(header_.size);
  const uint64_t end = geometry_.ReachableTables(size_);
  if (first == end) return absl::OkStatus();
  // What is there was left by a growth that did not come to its end.
  std::erase_if(map_.tables, [&](const TableEntry& table) {
    return table.l1_index >= first;
  });
  std::fill(map_.l1.begin() + static_cast<ptrdiff_t>(first), map_.l1.end(), 0);
  new_l1_ = true;
  for (uint64_t index = first; index < end; ++index) {
    const uint64_t offset = Take(1);
    RETURN_IF_ERROR(WriteFilledTable(index, offset));
    map_.l1[index] = offset | kEntryCopied;
    map_.tables.push_back({index, offset});
  }
  return absl::OkStatus();
}

absl::Status Builder::WriteL1() {
  if (!new_l1_) return absl::OkStatus();
  const uint64_t bytes = map_.l1.size() * sizeof(uint64_t);
  header_.l1_entries = static_cast<uint32_t>(map_.l1.size());
  header_.l1_offset = Take(DivideRoundingUp(bytes, cluster_size()));
  return WriteWords(header_.l1_offset, map_.l1);
}

// The blocks lie one behind the other, and the table behind them; both count
// for themselves.
absl::Status Builder::PlaceRefcounts() {
  map_.blocks.clear();
  header_.refcount_table_clusters = 0;
  const auto block_of = [&](uint64_t cluster) {
    return refcounts_.BlockOf(cluster);
  };
  std::vector<uint64_t> indices;
  for (const uint64_t cluster : map_.UsedClusters(header_)) {
    if (indices.empty() || indices.back() != block_of(cluster)) {
      indices.push_back(block_of(cluster));
    }
  }
  const uint64_t first = at_ / cluster_size();
  const uint64_t tables_to_come = TablesToCome(header_, map_, size_);
  uint64_t table_clusters = 1;
  while (true) {
    const uint64_t taken = indices.size() + table_clusters;
    const uint64_t to_come =
        first + taken + tables_to_come +
        BlocksFor(refcounts_, first + taken + tables_to_come);
    const uint64_t table_bytes = (block_of(to_come) + 1) * sizeof(uint64_t);
    if (table_bytes > kMaxRefcountTableBytes) {
      return MakeError(
          EFBIG, absl::StrCat(file_.path(), ": a refcount table for ", to_come,
                              " clusters would need ", table_bytes,
                              " bytes, at most ", kMaxRefcountTableBytes,
                              " are possible; convert the image"));
    }
    const size_t had = indices.size();
    for (uint64_t block = block_of(first); block <= block_of(first + taken - 1);
         ++block) {
      if (!std::binary_search(indices.begin(), indices.end(), block)) {
        indices.insert(std::upper_bound(indices.begin(), indices.end(), block),
                       block);
      }
    }
    const uint64_t wanted = DivideRoundingUp(table_bytes, cluster_size());
    if (indices.size() == had && wanted <= table_clusters) break;
    table_clusters = std::max(table_clusters, wanted);
  }
  map_.blocks.resize(table_clusters * cluster_size() / sizeof(uint64_t));
  for (const uint64_t index : indices) map_.blocks[index] = Take(1);
  header_.refcount_table_clusters = static_cast<uint32_t>(table_clusters);
  header_.refcount_table_offset = Take(table_clusters);
  return absl::OkStatus();
}

absl::Status Builder::WriteRefcounts() {
  std::vector<uint64_t> words(cluster_size() / sizeof(uint64_t));
  const std::vector<uint64_t> used = map_.UsedClusters(header_);
  for (size_t i = 0; i < used.size();) {
    const uint64_t block = refcounts_.BlockOf(used[i]);
    std::fill(words.begin(), words.end(), 0);
    for (; i < used.size() && refcounts_.BlockOf(used[i]) == block; ++i) {
      uint64_t& word = words[refcounts_.WordOf(0, used[i])];
      word = refcounts_.Set(word, used[i], 1);
    }
    // As they are to be read: the counts are in their own byte order already.
    for (uint64_t& word : words) word = SwapBytes(word);
    RETURN_IF_ERROR(WriteWords(map_.blocks[block], words));
  }
  return WriteWords(header_.refcount_table_offset, map_.blocks);
}

absl::StatusOr<Header> Builder::Run(Syncer& syncer) {
  const uint64_t entries = L1EntriesFor(header_, size_);
  if (entries > map_.l1.size() || header_.l1_offset == 0) {
    map_.l1.resize(std::max<uint64_t>(entries, map_.l1.size()));
    new_l1_ = true;
  }
  if (header_.data_file_raw()) RETURN_IF_ERROR(AddFilledTables());
  RETURN_IF_ERROR(WriteL1());
  RETURN_IF_ERROR(PlaceRefcounts());
  RETURN_IF_ERROR(WriteRefcounts());
  RETURN_IF_ERROR(syncer.Sync(file_));
  return header_;
}

}  // namespace

uint64_t L1EntriesFor(const Header& header, uint64_t size) {
  return std::max<uint64_t>(1, GeometryOf(header).ReachableTables(size));
}

uint64_t MaxSize(const Header& header) {
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  const uint64_t reach = GeometryOf(header).table_reach();
  const uint64_t entries = kMaxL1Bytes / sizeof(uint64_t);
  return std::min(RoundDown(kMost, 512),
                  CheckedMultiply(entries, reach).value_or(kMost));
}

bool HasRoomFor(const Header& header, const MetadataMap& map, uint64_t size,
                uint64_t file_size) {
  const Refcounts refcounts(header);
  const uint64_t clusters = DivideRoundingUp(file_size, header.cluster_size()) +
                            TablesToCome(header, map, size);
  return refcounts.BlockOf(clusters + BlocksFor(refcounts, clusters)) <
         map.blocks.size();
}

absl::StatusOr<Header> BuildMetadata(File& file, const Header& header,
                                     MetadataMap map, uint64_t size,
                                     Syncer& syncer) {
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  return Builder(file, header, std::move(map), size, stat.size).Run(syncer);
}

absl::Status WriteHeaderFields(File& file, const Header& old_header,
                               const Header& header, Syncer& syncer) {
  const auto write = [&](const Header& fields) {
    auto bytes = SerializeHeader(fields);
    const iovec piece{&bytes[kFieldsBegin], kFieldsEnd - kFieldsBegin};
    return file.Write(kFieldsBegin, absl::MakeConstSpan(&piece, 1));
  };
  if (absl::Status status = write(header); !status.ok()) {
    write(old_header).IgnoreError();
    return status;
  }
  return syncer.Sync(file);
}

}  // namespace flatcow::qcow2
