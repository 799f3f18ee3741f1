// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QCOW2_METADATA_SPACE_H_
#define FLATCOW_FORMAT_QCOW2_METADATA_SPACE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/file.h"
#include "format/file_tail.h"
#include "format/qcow2/header.h"
#include "format/qcow2/refcounts.h"
#include "io/metadata_cache.h"

namespace flatcow::qcow2 {

// Clusters for metadata, at the end of the file, with their refcounts. Not
// thread-safe.
class MetadataSpace {
 public:
  // All outlive this. Precondition: the refcount table of `header` has room for
  // every cluster that will be asked for.
  MetadataSpace(File& file, MetadataPages& pages, const Header& header,
                uint64_t file_size);

  // Return values: the offset of a cluster that reads as zeroes and whose
  // refcount is 1, with host space for it. After a failure the refcount is 0.
  absl::StatusOr<uint64_t> Take();

  // Sets the refcount of a cluster that nothing names any more to 0. Its space
  // stays in the file, which is not taken again as long as the image is open.
  absl::Status Free(uint64_t offset);

 private:
  absl::StatusOr<uint64_t> Extend();
  absl::Status SetCount(uint64_t offset, uint64_t count);
  // The block that counts for a cluster, which is made if there is none.
  absl::StatusOr<uint64_t> FindOrAddBlock(uint64_t cluster);

  uint64_t TableWord(uint64_t cluster) const {
    return table_offset_ / sizeof(uint64_t) + refcounts_.BlockOf(cluster);
  }

  File& file_;
  MetadataPages& pages_;
  const Refcounts refcounts_;
  const uint32_t cluster_bits_;
  const uint64_t table_offset_;
  const uint64_t table_bytes_;
  FileTail tail_;
};

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_METADATA_SPACE_H_
