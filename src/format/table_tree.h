// SPDX-License-Identifier: Apache-2.0
//
// An L1 table and the L2 tables that it names, through the metadata cache.
#ifndef FLATCOW_FORMAT_TABLE_TREE_H_
#define FLATCOW_FORMAT_TABLE_TREE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "flatcow/extent.h"
#include "flatcow/file.h"
#include "format/layer.h"
#include "format/table_geometry.h"
#include "io/metadata_cache.h"

namespace flatcow {

// Entries looked at in one go.
inline constexpr size_t kEntriesAtOnce = 64;

// Thread-safe, but for Load(), Drop() and what changes the geometry.
class TableTree {
 public:
  // The offset of the L2 table that a word of the L1 table names; 0: none.
  using TableOffset = uint64_t (*)(uint64_t word);

  // `file` and `pages`, whose words count from the start of that file, outlive
  // this.
  TableTree(const File& file, MetadataPages& pages,
            const TableGeometry& geometry, TableOffset table_offset)
      : file_(file),
        pages_(pages),
        geometry_(geometry),
        table_offset_(table_offset) {}

  const TableGeometry& geometry() const { return geometry_; }

  // Reads and checks the L1 entries that a disk of `size` bytes reaches, of a
  // file with `file_end` usable bytes. A bad one, which names no place for a
  // table or one that overlaps another table, is an error of those who use it,
  // and stays one: the file may grow over such a place. Return values: where
  // the tables are, ascending.
  absl::StatusOr<std::vector<uint64_t>> Load(uint64_t size, uint64_t file_end);

  // The offset of the L2 table for a guest offset; 0: there is none. Errors:
  // EIO, also for an entry that Load() found bad.
  absl::StatusOr<uint64_t> Find(uint64_t guest_offset) const {
    const uint64_t index = geometry_.L1Index(guest_offset);
    const uint64_t word = geometry_.L1Word(index);
    ASSIGN_OR_RETURN(const uint64_t entry, pages_.ReadWord(word));
    const uint64_t table = table_offset_(entry);
    if (table != 0 && !bad_.empty() && bad_.contains(index)) {
      return BadEntry("L1", index, word, table);
    }
    return table;
  }

  // The run from the start of the extent on, for which there is no L2 table.
  // Precondition: Find() has said so for the start.
  absl::StatusOr<Mapping> MapUntabled(Extent extent) const;

  // Sets an L1 entry to 0. Return values: the table that it named; 0: none.
  absl::StatusOr<uint64_t> Drop(uint64_t l1_index);

  absl::Status BadEntry(absl::string_view table, uint64_t index, uint64_t word,
                        uint64_t value) const;

 private:
  const File& file_;
  MetadataPages& pages_;
  const TableGeometry geometry_;
  const TableOffset table_offset_;
  absl::flat_hash_set<uint64_t> bad_;  // L1 indices
};

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_TABLE_TREE_H_
