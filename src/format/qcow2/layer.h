// SPDX-License-Identifier: Apache-2.0
//
// A qcow2 image as a layer that is read: of any kind, compressed clusters and
// subclusters included. What can be written is in data_file_layer.h.
#ifndef FLATCOW_FORMAT_QCOW2_LAYER_H_
#define FLATCOW_FORMAT_QCOW2_LAYER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "flatcow/file.h"
#include "format/format_driver.h"
#include "format/layer.h"
#include "format/qcow2/compressed_clusters.h"
#include "format/qcow2/header.h"
#include "format/qcow2/l2_entry.h"
#include "format/table_tree.h"
#include "io/metadata_cache.h"

namespace flatcow::qcow2 {

class Qcow2Layer : public Layer {
 public:
  // `header` has been read from `file`; null `data_file`: clusters are in
  // `file`. Both outlive the layer.
  static absl::StatusOr<std::unique_ptr<Layer>> Open(
      File& file, File* data_file, const Header& header,
      const LayerOptions& options);

  uint64_t size() const override { return size_.load(); }
  // A subcluster's where entries are extended.
  uint64_t cluster_size() const override;
  File& data_file() const override { return data_file_; }
  const File* computed_file() const override {
    return compressed_.has_value() ? &*compressed_ : nullptr;
  }

  absl::StatusOr<Mapping> Map(Extent extent) const override;

  absl::StatusOr<Reservation> Reserve(Extent) override { return ReadOnly(); }
  void Release(const Reservation&) override {}
  absl::Status Publish(const Reservation&) override { return ReadOnly(); }

  bool HasDirtyMetadata() const override { return false; }
  void BeginRound() override {}
  absl::Status WriteRound(Syncer&) override { return absl::OkStatus(); }
  void AbandonRound() override {}
  void Freeze() override {}
  bool WantsRound() const override { return false; }

  absl::Status CheckSize(uint64_t) const override { return ReadOnly(); }
  absl::Status PrepareGrow(uint64_t, uint64_t, Syncer&) override {
    return ReadOnly();
  }
  absl::StatusOr<uint64_t> DropEntries(Extent) override { return ReadOnly(); }
  absl::Status FinishResize(uint64_t, Syncer&) override { return ReadOnly(); }

 protected:
  Qcow2Layer(File& file, File* data_file, const Header& header,
             const LayerOptions& options);

  // Reads the tables of the header, and how long the files are.
  absl::Status Load();

  absl::Status BadEntry(uint64_t l2_index, uint64_t word, uint64_t entry) const;

  File& file_;
  File& data_file_;
  Header header_;
  std::atomic<uint64_t> size_;
  // Bytes of the data file: what lies behind reads as zeroes.
  std::atomic<uint64_t> data_end_{0};
  MetadataPages pages_;  // word n of the file
  std::optional<TableTree> tree_;

 private:
  struct Unit {
    UnitKind kind = UnitKind::kUnallocated;
    uint64_t host_offset = 0;  // for kData
  };

  static absl::Status ReadOnly();

  // Of no length when an entry changed while it was looked at.
  absl::StatusOr<Mapping> MapTable(Extent extent, uint64_t table) const;
  // Adds what the cluster says of its part of the run, which begins at `guest`.
  // Return values: false when the run ends there.
  absl::StatusOr<bool> Extend(uint64_t guest, uint64_t end, uint64_t l2_word,
                              absl::Span<const uint64_t> entry,
                              Mapping& run) const;
  // The words of an extended entry change one after the other: what looks bad
  // may have been seen in between. Return values: false when it was; otherwise
  // the error.
  absl::StatusOr<bool> CheckBad(uint64_t guest, uint64_t l2_word,
                                absl::Span<const uint64_t> entry) const;
  Unit UnitOf(absl::Span<const uint64_t> entry, uint64_t guest) const;
  // What a unit is to who reads, and for how many of its bytes.
  Mapping MappingOf(const Unit& unit, uint64_t guest, uint64_t length) const;

  std::optional<CompressedClusters> compressed_;
};

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_LAYER_H_
