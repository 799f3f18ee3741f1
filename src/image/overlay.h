// SPDX-License-Identifier: Apache-2.0
//
// An open image: reads through the chain, copy-on-write into its top layer, and
// the flush round, once for all formats.
//
// A read: Chain::Resolve -> segments -> one File::Read a data segment.
//
// A write: what Map() calls data is written in place, in parallel. The rest,
// under a range lock on its clusters: Map() again (another writer may have
// allocated meanwhile) -> Reserve -> old content at the edges that the write
// does not cover, with the data in one File::Write -> Publish. Nothing here
// waits for the disk.
//
// A flush round: copy the dirty metadata; sync the data file if anything was
// written to it; write the copies in dependency order; sync. A crash in between
// can leak space, never make metadata name data that isn't there. A round that
// fails to write is tried again by the next one. After a failed sync the image
// shows what its files hold, and answers EIO to writes and flushes until it is
// opened again: Linux marks the pages of a failed fsync clean, so a second try
// proves nothing.
//
// Locks: IoGate, then RangeLock, then what layers take. No data is written
// under a layer's mutex, and nothing waits for a round while it holds a range.
//
// An image file that is an image (image_file.h) has all of these for itself,
// and only the image above it uses it. That calls it with its own locks held,
// and with a range held, too; it never calls back, so every wait is for
// something further down. Its rounds are parts of the outer image's rounds: its
// requests begin none, or a writer would wait for one while it holds a range
// above.
#ifndef FLATCOW_IMAGE_OVERLAY_H_
#define FLATCOW_IMAGE_OVERLAY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "flatcow/image.h"
#include "image/chain.h"
#include "image/flush_rounds.h"
#include "image/io_gate.h"
#include "image/sharded_range_lock.h"

namespace flatcow {

class Overlay final : public Image {
 public:
  Overlay(Chain chain, ImageInfo info, bool writable, LayerOptions options,
          std::vector<std::string> warnings);
  ~Overlay() override;

  uint64_t Size() const override { return size_.load(); }
  absl::StatusOr<size_t> Read(uint64_t guest_offset,
                              absl::Span<uint8_t> buffer) override;
  absl::StatusOr<size_t> Write(uint64_t guest_offset,
                               absl::Span<const uint8_t> data) override;
  absl::Status WriteZeroes(Extent extent) override;
  absl::Status Discard(Extent extent) override;
  absl::Status Allocate(Extent extent) override;
  absl::Status Flush() override;
  absl::StatusOr<SegmentList> Map(Extent extent) override;
  absl::Status Resize(uint64_t new_size) override;

  std::vector<std::string> ChainPaths() const override;
  std::vector<std::string> WrittenPaths() const override;
  const ImageInfo& Info() const override { return info_; }
  ImageStatistics Statistics() const override;
  absl::StatusOr<std::optional<uint64_t>> CountAllocatedClusters(
      uint64_t max_runs) override;
  bool Writable() const override { return writable_.load(); }
  absl::Status MakeWritable() override;
  bool NeedsFlush() const override;
  absl::StatusOr<uint64_t> Populate(Extent extent) override;
  absl::Status Shrink(uint64_t new_size) override;
  int FlatFile(bool never_written) override;
  absl::Status AdoptGrowth() override;
  absl::StatusOr<uint64_t> AllocatedBytes() override;
  const std::vector<std::string>& Warnings() const override {
    return warnings_;
  }

  // For the image that has this one as its image file (image_file.h).
  const Chain& chain() const { return chain_; }
  // A sync has failed, here or further in, where growing may meet it outside of
  // our own rounds.
  bool SyncFailed() const {
    return syncer_.failed() || (inner() != nullptr && inner()->SyncFailed());
  }
  // Could the disk have this size? Errors: EINVAL, EFBIG.
  absl::Status CheckSize(uint64_t new_size) const;
  // Requests begin no flush rounds from now on; Flush() does.
  void LeaveRoundsToFlush() { begins_rounds_.store(false); }

 private:
  // OK when writes may be tried: EROFS, or EIO after a failed round.
  absl::Status CheckWritable() const;
  absl::Status CheckInside(Extent extent, absl::string_view operation) const;

  absl::Status ReadInside(Extent extent, uint8_t* buffer) const;
  absl::StatusOr<bool> ReadsZero(Extent extent) const;
  // The one file that holds every byte of the disk where the disk has it; null
  // when there is none, or it would take long to know.
  const File* FindFlatFile() const;

  // Writing (overlay_write.cc).
  absl::Status WriteInPlace(const Mapping& mapping, const uint8_t* data);
  // Precondition: Map() did not call the start of the extent data.
  absl::Status WriteAllocating(Extent extent, const uint8_t* data);
  // Reserves, fills and publishes clusters from `extent.offset` on, which
  // `data` overwrites (null: the old content stays). Return values: bytes of
  // the extent done. Precondition: a range lock on the clusters.
  absl::StatusOr<uint64_t> AllocateClusters(Extent extent, const uint8_t* data);
  absl::Status FillReserved(const Reservation& reservation, Extent written,
                            const uint8_t* data);
  absl::Status CopyOld(Extent old, uint64_t host_offset,
                       absl::Span<uint8_t> buffer);
  // Clusters made the image's own (overlay_populate.cc). Both return bytes of
  // data copied. Precondition: a range lock on the clusters.
  absl::StatusOr<uint64_t> PopulateUnmapped(Extent clusters);
  absl::StatusOr<uint64_t> CopyUp(Extent clusters);
  absl::StatusOr<uint64_t> FillFromBelow(const Reservation& reservation);
  absl::Status Publish(const Reservation& reservation);
  // The clusters that `extent` touches.
  Extent ClustersOf(Extent extent) const;

  // Zeroing and allocating (overlay_zero.cc).
  absl::Status ZeroInside(Extent extent);
  absl::Status ZeroInPlace(const Mapping& mapping);
  // Of data that has been zeroed.
  absl::Status MarkZeroed(Extent run);
  // The clusters that `run` covers.
  Extent WholeClustersOf(Extent run) const;
  absl::Status ZeroRun(Extent run);
  absl::Status ZeroPart(Extent part);
  absl::Status ZeroClusters(Extent clusters);
  absl::Status ZeroUnmapped(Extent clusters);
  absl::Status MarkZero(Extent clusters);
  absl::Status AllocateRun(Extent run);

  // A write reached the data file, in part at least: the next round must sync
  // it.
  void NoteDataWritten() {
    if (!data_written_.load()) data_written_.store(true);
  }

  // False: the image is in files without a name, and nothing has to be durable.
  bool OutlivesProcess() const;
  // Has anything that was written been lost?
  absl::Status CheckData();
  absl::Status RunRounds();
  absl::Status OneRound();
  absl::Status WriteRound();
  absl::Status FailureStatus() const;
  std::string SyncFailure() const;
  // A round when the cache is half full of dirty pages.
  absl::Status FlushIfCacheIsFull();
  bool WantsRound() const;
  // The image file, where that is an image; else null.
  Overlay* inner() const {
    const ImageFile* const file = chain_.image().data_image;
    return file != nullptr ? &file->image() : nullptr;
  }

  // Alone inside the gate.
  absl::Status Grow(uint64_t new_size);
  absl::Status ZeroPastOldEnd();

  Chain chain_;
  ImageInfo info_;
  const LayerOptions layer_options_;
  const std::vector<std::string> warnings_;

  IoGate gate_;
  ShardedRangeLock ranges_;
  FlushRounds rounds_;
  std::atomic<uint64_t> size_;  // the top layer's
  std::atomic<bool> writable_;
  // Set at first, too: what a daemon that died wrote may not be on disk yet.
  std::atomic<bool> data_written_{true};
  std::atomic<bool> begins_rounds_{true};
  // Others write to the data file, too.
  std::atomic<bool> handed_out_{false};

  Syncer syncer_;

  std::atomic<uint64_t> allocated_clusters_{0};
  std::atomic<uint64_t> copied_bytes_{0};
  std::atomic<uint64_t> round_count_{0};
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_OVERLAY_H_
