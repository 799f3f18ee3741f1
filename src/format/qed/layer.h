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
//
// An entry that names a place past the end of the file is damage, and stays so
// when the file grows over that place. A table is therefore looked through once
// before a writable image uses it; one with such an entry takes no new entries
// as long as the image is open, so that old and new can be told apart.
#ifndef FLATCOW_FORMAT_QED_LAYER_H_
#define FLATCOW_FORMAT_QED_LAYER_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/mutex.h"
#include "flatcow/file.h"
#include "format/file_tail.h"
#include "format/format_driver.h"
#include "format/layer.h"
#include "format/qed/geometry.h"
#include "format/qed/header.h"
#include "format/qed/table_set.h"
#include "format/qed/table_states.h"
#include "format/table_geometry.h"
#include "format/table_tree.h"
#include "io/metadata_cache.h"

namespace flatcow::qed {

class QedLayer final : public Layer {
 public:
  // `header` has been read from `file`, which outlives the layer.
  static absl::StatusOr<std::unique_ptr<Layer>> Open(
      File& file, const Header& header, uint64_t file_size,
      const LayerOptions& options);

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
  void BeginRound() override { pages_.CopyDirty(); }
  absl::Status WriteRound(Syncer& syncer) override;
  void AbandonRound() override { pages_.ReturnCopies(); }
  void Freeze() override { pages_.Freeze(); }
  bool WantsRound() const override { return pages_.WantsRound(); }

  absl::Status CheckSize(uint64_t new_size) const override;
  absl::Status PrepareGrow(uint64_t new_size, uint64_t backing_size,
                           Syncer& syncer) override;
  absl::StatusOr<uint64_t> DropEntries(Extent rest) override;
  absl::Status FinishResize(uint64_t new_size, Syncer& syncer) override;

 private:
  // An L2 table. Where it is damaged, entries past `initial_end_` are bad.
  struct Table {
    uint64_t offset = 0;  // 0: there is none
    bool damaged = false;
  };

  QedLayer(File& file, const Header& header, uint64_t file_size,
           const LayerOptions& options);

  // The L2 table for a guest offset.
  absl::StatusOr<Table> FindTable(uint64_t guest_offset) const;
  // The offset of a table that may take new entries.
  absl::StatusOr<uint64_t> FindOrAddTable(uint64_t guest_offset);
  // Looks through a table that nobody has looked through before.
  absl::Status Inspect(uint64_t l1_index, uint64_t table) const;

  // How many of the clusters at `host_offset` an entry of a file that ends at
  // `file_end` may point to.
  uint64_t ValidClusters(uint64_t host_offset, uint64_t count,
                         uint64_t file_end) const;

  absl::StatusOr<Mapping> MapTable(Extent extent, const Table& table) const;

  absl::Status WriteSize(uint64_t size);

  // For a disk of `size` bytes.
  absl::Status LoadTables(uint64_t size);

  File& file_;
  const Header header_;
  const TableGeometry geometry_;
  const bool writable_;
  std::atomic<uint64_t> size_;
  // The file's length in whole clusters when it was opened.
  const uint64_t initial_end_;
  FileTail tail_;
  MetadataPages pages_;  // word n of the file
  TableTree tree_;
  std::unique_ptr<TableSet> tables_;
  mutable Mutex inspection_mutex_;
  std::unique_ptr<TableStates> states_;  // by L1 index

  Mutex table_mutex_;  // who adds a table
};

}  // namespace flatcow::qed

#endif  // FLATCOW_FORMAT_QED_LAYER_H_
