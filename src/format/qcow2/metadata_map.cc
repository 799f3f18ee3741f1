// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/metadata_map.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "format/qcow2/bitmap_clusters.h"
#include "format/qcow2/l2_entry.h"
#include "format/qcow2/refcounts.h"
#include "format/table_scan.h"

namespace flatcow::qcow2 {
namespace {

void AddClusters(Extent extent, uint32_t cluster_bits,
                 std::vector<uint64_t>& clusters) {
  if (extent.length == 0) return;
  const uint64_t last = (extent.end() - 1) >> cluster_bits;
  for (uint64_t at = extent.offset >> cluster_bits; at <= last; ++at) {
    clusters.push_back(at);
  }
}

Extent RefcountTableOf(const Header& header) {
  return {header.refcount_table_offset,
          header.refcount_table_clusters * header.cluster_size()};
}

}  // namespace

std::vector<uint64_t> MetadataMap::UsedClusters(const Header& header) const {
  std::vector<uint64_t> clusters = {0};
  AddClusters({header.l1_offset, header.l1_entries * sizeof(uint64_t)},
              header.cluster_bits, clusters);
  AddClusters(RefcountTableOf(header), header.cluster_bits, clusters);
  for (const TableEntry& table : tables) {
    clusters.push_back(table.offset >> header.cluster_bits);
  }
  for (const uint64_t block : blocks) {
    if (block != 0) clusters.push_back(block >> header.cluster_bits);
  }
  clusters.insert(clusters.end(), bitmap_clusters.begin(),
                  bitmap_clusters.end());
  std::sort(clusters.begin(), clusters.end());
  return clusters;
}

absl::StatusOr<MetadataMap> ReadMetadataMap(const File& file,
                                            const Header& header,
                                            uint64_t file_size) {
  MetadataMap map;
  const TableGeometry geometry = GeometryOf(header);
  const uint64_t file_end = RoundDown(file_size, header.cluster_size());
  map.l1.resize(header.l1_entries);
  RETURN_IF_ERROR(
      ScanWords(file, geometry.l1_extent(), [&](uint64_t index, uint64_t word) {
        map.l1[index] = SwapBytes(word);
        const uint64_t offset = map.l1[index] & kOffsetMask;
        if (offset == 0) return absl::OkStatus();
        if (geometry.IsPlace(offset, geometry.table_bytes(), file_end)) {
          map.tables.push_back({index, offset});
        } else {
          map.bad.push_back(index);
        }
        return absl::OkStatus();
      }));
  for (const TableEntry& table :
       TakeOverlapping(map.tables, geometry.table_bytes())) {
    map.bad.push_back(table.l1_index);
  }
  const Extent refcount_table = RefcountTableOf(header);
  map.blocks.resize(refcount_table.length / sizeof(uint64_t));
  RETURN_IF_ERROR(
      ScanWords(file, refcount_table, [&](uint64_t index, uint64_t word) {
        map.blocks[index] = SwapBytes(word) & kOffsetMask;
        return absl::OkStatus();
      }));
  RETURN_IF_ERROR(
      AddBitmapClusters(file, header, file_size, map.bitmap_clusters));
  return map;
}

absl::Status ScanRefcounts(
    const File& file, const Header& header, const MetadataMap& map,
    uint64_t file_size,
    absl::FunctionRef<void(uint64_t cluster, uint64_t count)> visit) {
  const Refcounts refcounts(header);
  absl::flat_hash_set<uint64_t> seen;  // a block is one of one place
  for (uint64_t index = 0; index < map.blocks.size(); ++index) {
    const uint64_t block = map.blocks[index];
    if (block == 0 || !IsAligned(block, header.cluster_size()) ||
        block >= file_size || !seen.insert(block).second) {
      continue;
    }
    const uint64_t first = index * refcounts.per_block();
    RETURN_IF_ERROR(ScanWords(
        file, {block, header.cluster_size()},
        [&](uint64_t word_index, uint64_t word) {
          const uint64_t begin = first + word_index * refcounts.per_word();
          for (uint64_t i = 0; i < refcounts.per_word(); ++i) {
            const uint64_t count = refcounts.Get(word, begin + i);
            if (count != 0) visit(begin + i, count);
          }
          return absl::OkStatus();
        }));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> AreInUse(const File& file, const Header& header,
                              const MetadataMap& map, uint64_t file_size) {
  const std::vector<uint64_t> used = map.UsedClusters(header);
  if (std::adjacent_find(used.begin(), used.end()) != used.end()) return false;
  uint64_t next = 0;  // of `used`: those before have a refcount of 1
  bool sound = true;
  RETURN_IF_ERROR(ScanRefcounts(
      file, header, map, file_size, [&](uint64_t cluster, uint64_t count) {
        if (next == used.size() || used[next] > cluster) return;
        sound = sound && used[next] == cluster && count == 1;
        ++next;
      }));
  return sound && next == used.size();
}

}  // namespace flatcow::qcow2
