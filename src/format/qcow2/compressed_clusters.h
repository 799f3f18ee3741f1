// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QCOW2_COMPRESSED_CLUSTERS_H_
#define FLATCOW_FORMAT_QCOW2_COMPRESSED_CLUSTERS_H_

#include <cstdint>
#include <memory>

#include "flatcow/file.h"
#include "format/qcow2/header.h"
#include "format/table_tree.h"
#include "io/computed_file.h"
#include "io/metadata_cache.h"
#include "io/remembered_pages.h"

namespace flatcow::qcow2 {

// The compressed clusters of an image as a file in which each stands, as it was
// before, at its place in the disk. A cluster that is read as a whole goes
// straight to the reader; of one that is read in parts the rest is kept in the
// metadata cache as long as there is room. Thread-safe.
class CompressedClusters final : public ComputedFile {
 public:
  // All but `header` outlive this.
  CompressedClusters(const File& file, const Header& header,
                     const TableTree& tree, const MetadataPages& pages,
                     std::shared_ptr<MetadataCache> cache);

  // Precondition: the clusters that the range touches are compressed ones.
  // Errors: EIO naming the cluster when it is damaged.
  absl::StatusOr<size_t> Read(uint64_t offset,
                              absl::Span<uint8_t> buffer) const override;

 private:
  // `target` is a whole cluster.
  absl::Status Decompress(uint64_t cluster_offset,
                          absl::Span<uint8_t> target) const;
  absl::Status ReadPart(uint64_t offset, absl::Span<uint8_t> target) const;

  const File& image_;
  const uint32_t cluster_bits_;
  const uint8_t compression_type_;
  const TableTree& tree_;
  const MetadataPages& pages_;
  const RememberedPages remembered_;
};

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_COMPRESSED_CLUSTERS_H_
