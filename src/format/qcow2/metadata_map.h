// SPDX-License-Identifier: Apache-2.0
//
// The clusters that the metadata of an image takes, as its tables say. The
// clusters of the disk are not counted: they are in the data file.
#ifndef FLATCOW_FORMAT_QCOW2_METADATA_MAP_H_
#define FLATCOW_FORMAT_QCOW2_METADATA_MAP_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/file.h"
#include "format/qcow2/header.h"
#include "format/table_overlap.h"

namespace flatcow::qcow2 {

struct MetadataMap {
  std::vector<uint64_t> l1;  // the entries, as numbers
  // Those that name a place where a table can be, ascending by that; not those
  // that overlap one before them.
  std::vector<TableEntry> tables;
  std::vector<uint64_t> bad;  // L1 indices of the others
  // Offsets of the refcount blocks, by their place in the refcount table; 0:
  // there is none.
  std::vector<uint64_t> blocks;
  std::vector<uint64_t> bitmap_clusters;

  // Number of each cluster that is in use, one for each use, ascending.
  std::vector<uint64_t> UsedClusters(const Header& header) const;
};

absl::StatusOr<MetadataMap> ReadMetadataMap(const File& file,
                                            const Header& header,
                                            uint64_t file_size);

// Calls `visit(cluster, count)` for each cluster whose refcount is not 0,
// ascending. A block that can't be one is passed over.
absl::Status ScanRefcounts(
    const File& file, const Header& header, const MetadataMap& map,
    uint64_t file_size,
    absl::FunctionRef<void(uint64_t cluster, uint64_t count)> visit);

// Do the refcounts say what `map` says: 1 for each cluster that is in use, each
// in use but once? They may say it of others.
absl::StatusOr<bool> AreInUse(const File& file, const Header& header,
                              const MetadataMap& map, uint64_t file_size);

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_METADATA_MAP_H_
