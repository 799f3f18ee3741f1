// SPDX-License-Identifier: Apache-2.0
//
// A QED image as a layer.
//
// Space is taken at the end of the file only, in whole clusters, and never
// given back: a crash can leak clusters but can't make two entries share one.
// A new L2 table is entered into L1 as soon as it has its space, which reads as
// zeroes ("nothing allocated"); its entries follow by Publish().
//
// A round writes L2 pages, syncs, writes L1 pages, syncs: no pointer is durable
// before the table it names.
#ifndef FLATCOW_FORMAT_QED_LAYER_H_
#define FLATCOW_FORMAT_QED_LAYER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "base/mutex.h"
#include "flatcow/file.h"
#include "format/layer.h"
#include "format/qed/geometry.h"
#include "format/qed/header.h"
#include "format/qed/table_set.h"
#include "io/metadata_cache.h"

namespace flatcow::qed {

class QedLayer final : public Layer {
 public:
  // `header` has been read from `file`, which outlives the layer.
  static absl::StatusOr<std::unique_ptr<Layer>> Open(
      File& file, const Header& header, uint64_t file_size,
      std::shared_ptr<MetadataCache> cache);

  uint64_t size() const override { return size_.load(); }
  uint64_t cluster_size() const override { return geometry_.cluster_size(); }
  File& data_file() const override { return file_; }
  bool needs_whole_clusters() const override { return true; }
  bool has_zero_state() const override { return true; }

  absl::StatusOr<Mapping> Map(Extent extent) const override;
  absl::StatusOr<Reservation> Reserve(Extent clusters) override;
  void Release(const Reservation& reservation) override;
  absl::Status Publish(const Reservation& reservation) override;
  absl::Status MarkZero(Extent clusters) override;

  bool HasDirtyMetadata() const override { return pages_.HasDirty(); }
  absl::Status BeginRound() override;
  absl::Status WriteRound() override;
  bool WantsRound() const override { return pages_.HalfDirty(); }

  absl::Status CheckGrow(uint64_t new_size) const override;
  absl::Status PrepareGrow(uint64_t new_size, uint64_t backing_size) override;
  absl::Status FinishGrow(uint64_t new_size) override;

 private:
  QedLayer(File& file, const Header& header, uint64_t file_size,
           std::shared_ptr<MetadataCache> cache);

  // The L2 table for a guest offset. Return values: 0 when there is none.
  absl::StatusOr<uint64_t> FindTable(uint64_t guest_offset) const;
  absl::StatusOr<uint64_t> FindOrAddTable(uint64_t guest_offset);

  // How many of the clusters at `host_offset` an entry may point to.
  uint64_t ValidClusters(uint64_t host_offset, uint64_t count) const;

  absl::StatusOr<Mapping> MapUntabled(Extent extent) const;
  absl::StatusOr<Mapping> MapTable(Extent extent, uint64_t table) const;

  absl::StatusOr<uint64_t> Extend(uint64_t length)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(allocation_mutex_);

  // Reads and checks the L1 entries that a disk of `size` bytes reaches. A bad
  // one is an error of those who use it.
  absl::Status LoadTables(uint64_t size);

  absl::Status BadEntry(absl::string_view table, uint64_t index, uint64_t at,
                        uint64_t value) const;

  File& file_;
  const Header header_;
  const Geometry geometry_;
  std::atomic<uint64_t> size_;
  // The file's length in whole clusters: the end of what entries may name.
  std::atomic<uint64_t> file_end_;
  // The cluster that the file ended in when it was opened, if it did: nobody's,
  // also when the file grows past it.
  static constexpr uint64_t kNoCluster = ~uint64_t{0};
  const uint64_t cut_cluster_;
  MetadataPages pages_;  // word n of the file
  std::unique_ptr<TableSet> tables_;
  // L1 entries that name no place for a table, or one that overlaps another
  // table, as they were when first read: the file may grow over such a place.
  absl::flat_hash_set<uint64_t> bad_tables_;

  Mutex allocation_mutex_;
  uint64_t allocation_end_ ABSL_GUARDED_BY(allocation_mutex_);
  // Released reservations, to be taken again; their bytes may be anything.
  std::vector<Extent> released_ ABSL_GUARDED_BY(allocation_mutex_);
};

}  // namespace flatcow::qed

#endif  // FLATCOW_FORMAT_QED_LAYER_H_
