// SPDX-License-Identifier: Apache-2.0
//
// A qcow2 image with an external data file as a layer that is written. Clusters
// of the disk stand in the data file at their own offsets and have no
// refcounts; the image file holds metadata alone.
//
// A round writes L2 tables and refcount blocks, syncs, the refcount table,
// syncs, the L1 table, syncs: nothing is durable before what it names, and no
// table that is named has a refcount of 0. The data file was synced before.
//
// Where entries are extended, subclusters are what is allocated.
#ifndef FLATCOW_FORMAT_QCOW2_DATA_FILE_LAYER_H_
#define FLATCOW_FORMAT_QCOW2_DATA_FILE_LAYER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "base/mutex.h"
#include "format/qcow2/layer.h"
#include "format/qcow2/metadata_space.h"

namespace flatcow::qcow2 {

class DataFileLayer final : public Qcow2Layer {
 public:
  // Preconditions: PrepareForWriting() (writable.h) has been done with the
  // files; both are open for writing and outlive the layer.
  static absl::StatusOr<std::unique_ptr<Layer>> Open(
      File& file, File& data_file, const Header& header,
      const LayerOptions& options);

  bool has_zero_state() const override { return !header_.data_file_raw(); }
  bool marks_zeroed_data() const override { return true; }

  absl::StatusOr<Reservation> Reserve(Extent clusters) override;
  absl::Status Publish(const Reservation& reservation) override;
  absl::Status MarkZero(Extent clusters) override;

  bool HasDirtyMetadata() const override { return pages_.HasDirty(); }
  void BeginRound() override;
  absl::Status WriteRound(Syncer& syncer) override;
  void AbandonRound() override;
  void Freeze() override { pages_.Freeze(); }
  bool WantsRound() const override { return pages_.WantsRound(); }

  absl::Status CheckSize(uint64_t new_size) const override;
  absl::Status PrepareGrow(uint64_t new_size, uint64_t backing_size,
                           Syncer& syncer) override;
  absl::StatusOr<uint64_t> DropEntries(Extent rest) override;
  absl::Status FinishResize(uint64_t new_size, Syncer& syncer) override;

 private:
  using Qcow2Layer::Qcow2Layer;

  absl::Status StartSpace();

  // The offset of an L2 table that may take new entries.
  absl::StatusOr<uint64_t> FindOrAddTable(uint64_t guest_offset);

  // A word of an entry that is to change.
  struct Entry {
    uint64_t guest_offset = 0;  // of its cluster
    uint64_t subclusters = 0;   // a bit for each that is meant
    bool is_bitmap = false;     // the second word of an extended entry
  };
  // Replaces each word of the entries of `units`, which are of one table.
  using Change = absl::FunctionRef<uint64_t(const Entry& entry, uint64_t old)>;
  absl::Status ModifyEntries(uint64_t table, Extent units, Change change);
  // Words of the entries of `units` in the table.
  Extent WordsOf(uint64_t table, Extent units) const;
  absl::Status SetData(uint64_t table, Extent units);
  absl::Status DropTable(uint64_t l1_index);
  // Is any of at most kEntriesAtOnce words not 0?
  absl::StatusOr<bool> HasEntries(uint64_t table, Extent units) const;
  // Makes tables large enough for a disk of `size` bytes.
  absl::Status EnlargeTables(uint64_t size, Syncer& syncer);

  // What a process that died wrote may not be on disk yet, so the first round
  // syncs the file even when it has nothing to write.
  bool file_synced_ = false;

  Mutex table_mutex_;  // who adds or frees a table, or copies what is dirty
  std::optional<MetadataSpace> space_ ABSL_GUARDED_BY(table_mutex_);
  // Tables whose L1 entries were dropped; those of the round under way.
  std::vector<uint64_t> dropped_ ABSL_GUARDED_BY(table_mutex_);
  std::vector<uint64_t> dropped_in_round_ ABSL_GUARDED_BY(table_mutex_);
};

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_DATA_FILE_LAYER_H_
