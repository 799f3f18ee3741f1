// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_TABLE_OVERLAP_H_
#define FLATCOW_FORMAT_TABLE_OVERLAP_H_

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

namespace flatcow {

struct TableEntry {
  uint64_t l1_index = 0;
  uint64_t offset = 0;  // of the L2 table
};

// Sorts the tables by offset and takes out those that share a byte with one
// before them. Opening an image and repairing it have to agree on which these
// are. Return values: what was taken out.
inline std::vector<TableEntry> TakeOverlapping(std::vector<TableEntry>& tables,
                                               uint64_t table_bytes) {
  std::sort(tables.begin(), tables.end(),
            [](const TableEntry& a, const TableEntry& b) {
              return std::tie(a.offset, a.l1_index) <
                     std::tie(b.offset, b.l1_index);
            });
  std::vector<TableEntry> kept;
  std::vector<TableEntry> overlapping;
  for (const TableEntry& table : tables) {
    if (!kept.empty() && table.offset - kept.back().offset < table_bytes) {
      overlapping.push_back(table);
    } else {
      kept.push_back(table);
    }
  }
  tables = std::move(kept);
  return overlapping;
}

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_TABLE_OVERLAP_H_
