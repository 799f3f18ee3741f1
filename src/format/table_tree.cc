// SPDX-License-Identifier: Apache-2.0
#include "format/table_tree.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/table_overlap.h"

namespace flatcow {

absl::StatusOr<std::vector<uint64_t>> TableTree::Load(uint64_t size,
                                                      uint64_t file_end) {
  const uint64_t reachable = geometry_.ReachableTables(size);
  std::vector<TableEntry> tables;
  std::array<uint64_t, kEntriesAtOnce> entries;
  for (uint64_t index = 0; index < reachable;) {
    const size_t wanted = static_cast<size_t>(
        std::min<uint64_t>(entries.size(), reachable - index));
    ASSIGN_OR_RETURN(const size_t count,
                     pages_.Read(geometry_.L1Word(index),
                                 absl::MakeSpan(entries).first(wanted)));
    for (size_t i = 0; i < count; ++i) {
      const uint64_t table = table_offset_(entries[i]);
      if (table == 0 || bad_.contains(index + i)) continue;
      if (geometry_.IsPlace(table, geometry_.table_bytes(), file_end)) {
        tables.push_back({index + i, table});
      } else {
        bad_.insert(index + i);
      }
    }
    index += count;
  }
  for (const TableEntry& table :
       TakeOverlapping(tables, geometry_.table_bytes())) {
    bad_.insert(table.l1_index);
  }
  std::vector<uint64_t> offsets;
  offsets.reserve(tables.size());
  for (const TableEntry& table : tables) offsets.push_back(table.offset);
  return offsets;
}

absl::Status TableTree::BadEntry(absl::string_view table, uint64_t index,
                                 uint64_t word, uint64_t value) const {
  return MakeError(
      EIO, absl::StrFormat(
               "%s: %s entry %u (byte %u of the file) is 0x%x, expected the "
               "offset of a %u-byte cluster in the file that no table uses; "
               "the image is damaged: run flatcow-img check",
               file_.path(), table, index, word * sizeof(uint64_t), value,
               geometry_.cluster_size()));
}

absl::StatusOr<Mapping> TableTree::MapUntabled(Extent extent) const {
  const uint64_t last = geometry_.L1Index(extent.end() - 1);
  uint64_t index = geometry_.L1Index(extent.offset) + 1;
  std::array<uint64_t, kEntriesAtOnce> entries;
  while (index <= last) {
    const size_t wanted = static_cast<size_t>(
        std::min<uint64_t>(entries.size(), last - index + 1));
    ASSIGN_OR_RETURN(const size_t count,
                     pages_.Read(geometry_.L1Word(index),
                                 absl::MakeSpan(entries).first(wanted)));
    for (size_t i = 0; i < count; ++i) {
      if (table_offset_(entries[i]) != 0) {
        return Mapping{
            .kind = Mapping::Kind::kBacking,
            .length = (index + i) * geometry_.table_reach() - extent.offset,
            .host_offset = 0};
      }
    }
    index += count;
  }
  return Mapping{.kind = Mapping::Kind::kBacking,
                 .length = extent.length,
                 .host_offset = 0};
}

absl::StatusOr<uint64_t> TableTree::Drop(uint64_t l1_index) {
  const uint64_t word = geometry_.L1Word(l1_index);
  ASSIGN_OR_RETURN(const uint64_t entry, pages_.ReadWord(word));
  if (entry != 0) {
    RETURN_IF_ERROR(
        pages_.Modify(word, 1, [](uint64_t, uint64_t) { return 0; }));
  }
  bad_.erase(l1_index);
  return table_offset_(entry);
}

}  // namespace flatcow
