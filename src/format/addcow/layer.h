// SPDX-License-Identifier: Apache-2.0
//
// An add-cow image as a layer: the bitmap says which clusters the image file
// holds, at their guest offset. There is no zero state: zeroed clusters are
// holes of the image file with their bit set.
//
// A round writes the bitmap pages and syncs the add-cow file; the image file
// was synced before.
#ifndef FLATCOW_FORMAT_ADDCOW_LAYER_H_
#define FLATCOW_FORMAT_ADDCOW_LAYER_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "flatcow/file.h"
#include "format/addcow/header.h"
#include "format/layer.h"
#include "io/metadata_cache.h"

namespace flatcow::addcow {

class AddCowLayer final : public Layer {
 public:
  // `header` has been read from `file`; both files outlive the layer.
  static absl::StatusOr<std::unique_ptr<Layer>> Open(
      File& file, File& image_file, const Header& header,
      std::shared_ptr<MetadataCache> cache);

  uint64_t size() const override { return size_.load(); }
  uint64_t cluster_size() const override { return header_.cluster_size(); }
  File& data_file() const override { return image_file_; }
  bool IsFlat() const override {
    return all_allocated_.load(std::memory_order_acquire);
  }
  absl::Status AdoptFileSize() override;

  absl::StatusOr<Mapping> Map(Extent extent) const override;
  absl::StatusOr<Reservation> Reserve(Extent clusters) override;
  void Release(const Reservation&) override {}
  absl::Status Publish(const Reservation& reservation) override;

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
  AddCowLayer(File& file, File& image_file, const Header& header,
              uint64_t virtual_size, uint64_t file_size,
              std::shared_ptr<MetadataCache> cache);

  // Extends the add-cow file to the end of a bitmap for `virtual_size`.
  absl::Status ExtendBitmap(uint64_t virtual_size);
  absl::Status SetBits(Extent clusters);
  // Sets ALL_ALLOCATED, durably, when every bit is set and durable. A failure
  // to look or to write leaves that to a later round.
  absl::Status MarkIfComplete(Syncer& syncer);
  // Looks on from where the last call stopped.
  bool IsComplete();

  File& file_;
  File& image_file_;
  const Header header_;
  std::atomic<uint64_t> size_;
  MetadataPages pages_;  // word n of the bitmap
  // The bitmap of a daemon that died may be in the page cache and not on disk,
  // so the first round syncs it even when it has nothing to write.
  bool file_synced_ = false;
  std::atomic<bool> all_allocated_;
  // Of the rounds: every cluster before it is allocated.
  uint64_t complete_below_ = 0;

  Mutex mutex_;
  uint64_t file_size_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> bitmap_complete_;  // the file holds the whole bitmap
};

}  // namespace flatcow::addcow

#endif  // FLATCOW_FORMAT_ADDCOW_LAYER_H_
