// SPDX-License-Identifier: Apache-2.0
//
// One opened overlay of a chain: what a format must answer.
//
// A layer knows its own mapping and nothing of the layers below; it does no
// data I/O. Copy-on-write, locking of ranges, and when to sync are decided once
// for all formats, above (image/overlay.h).
#ifndef FLATCOW_FORMAT_LAYER_H_
#define FLATCOW_FORMAT_LAYER_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/extent.h"
#include "flatcow/file.h"
#include "io/syncer.h"

namespace flatcow {

// One layer's answer for a run of guest bytes.
struct Mapping {
  enum class Kind : uint8_t {
    kData,     // `file` holds it at host_offset
    kZero,     // reads as zeroes whatever lies below
    kBacking,  // this layer holds nothing: ask the next one
  };

  Kind kind = Kind::kBacking;
  uint64_t length = 0;         // bytes, at least 1
  uint64_t host_offset = 0;    // for kData
  const File* file = nullptr;  // for kData: computed_file(); null: data_file()

  friend bool operator==(const Mapping&, const Mapping&) = default;
};

// Host space for a run of clusters that no reader can reach yet.
struct Reservation {
  uint64_t guest_offset = 0;  // cluster aligned
  uint64_t length = 0;        // bytes, whole clusters
  uint64_t host_offset = 0;
  bool reads_zero = false;  // the host range is known to hold zeroes

  friend bool operator==(const Reservation&, const Reservation&) = default;
};

// Thread-safe, but for the calls that say otherwise. Callers hold a range lock
// on the clusters that they reserve, publish or mark.
class Layer {
 public:
  virtual ~Layer() = default;

  virtual uint64_t size() const = 0;  // of the virtual disk, bytes

  // A power of two; 1 for raw.
  virtual uint64_t cluster_size() const = 0;

  virtual File& data_file() const = 0;

  // What holds those clusters that no file holds as they are; it is read only.
  // Null: there are none.
  virtual const File* computed_file() const { return nullptr; }

  // True when a cluster at the end of the disk must be whole in the data file.
  virtual bool needs_whole_clusters() const { return false; }

  // True when holes of the data file are to be reported as zero segments.
  virtual bool reports_holes() const { return false; }

  // True when every byte of the disk is the same byte of data_file(), which
  // ends where the disk does; stays true once it is.
  virtual bool IsFlat() const { return false; }

  // The data file of a flat layer may have been extended by others, who write
  // to it directly: its length is the size now. Nothing else may be under way.
  virtual absl::Status AdoptFileSize() { return absl::OkStatus(); }

  // This layer's answer for the start of `extent`: the longest run, within the
  // extent, that is cheap to know. Precondition: extent not empty, inside the
  // disk. Errors: EIO naming the entry when it is corrupt or can't be read.
  virtual absl::StatusOr<Mapping> Map(Extent extent) const = 0;

  // Host space, for the metadata too, for clusters that Map() does not call
  // kData. Return values: a reservation that begins at clusters.offset and may
  // be shorter than asked for. Errors: ENOSPC and the like; nothing changed.
  virtual absl::StatusOr<Reservation> Reserve(Extent clusters) = 0;

  // Takes back a reservation that was not published; its space is used again.
  virtual void Release(const Reservation& reservation) = 0;

  // Makes the mapping visible to Map() now, and durable in the next round. A
  // failure may have done so with a part; the rest is taken back.
  virtual absl::Status Publish(const Reservation& reservation) = 0;

  // False when zeroed clusters must be reserved, zeroed and published.
  virtual bool has_zero_state() const { return false; }

  // True when clusters of data that have been zeroed are to be marked, too.
  virtual bool marks_zeroed_data() const { return false; }

  // Makes clusters for which Map() says kBacking read as zeroes, or kData with
  // marks_zeroed_data(), durable in the next round. Precondition:
  // has_zero_state() or marks_zeroed_data().
  virtual absl::Status MarkZero(Extent) {
    return absl::InternalError("the format has no zero state");
  }

  // A flush round, one at a time. BeginRound() copies the dirty metadata;
  // what is published from then on waits for the next round. WriteRound()
  // writes the copies in dependency order and syncs them: nothing at all when
  // there are none. AbandonRound() after a failure, also of what comes between
  // the two: what was copied is dirty again. Freeze() after a failed sync: all
  // that no round made durable is forgotten, Map() tells what the files hold,
  // and Publish() and MarkZero() fail with EIO; no other round may begin.
  virtual bool HasDirtyMetadata() const = 0;
  virtual void BeginRound() = 0;
  virtual absl::Status WriteRound(Syncer& syncer) = 0;
  virtual void AbandonRound() = 0;
  virtual void Freeze() = 0;

  // True when so much metadata is dirty in the cache that a round is due.
  virtual bool WantsRound() const = 0;

  // Resizing, with nothing else under way on the layer.
  // CheckSize: can the format hold the size (EINVAL, EFBIG)?
  // PrepareGrow: drops stale entries past the old end and gives zero state to
  // the new clusters that lie below `backing_size`; durable after a round. No
  // metadata is dirty before.
  // DropEntries: drops what lies at the start of `rest`, a range of whole
  // clusters that is to be cut off; durable after a round. Return values: bytes
  // done, so few that a round in between bounds the memory.
  // FinishResize: changes the size, durably; a failed write leaves the old one.
  virtual absl::Status CheckSize(uint64_t new_size) const = 0;
  virtual absl::Status PrepareGrow(uint64_t new_size, uint64_t backing_size,
                                   Syncer& syncer) = 0;
  virtual absl::StatusOr<uint64_t> DropEntries(Extent rest) = 0;
  virtual absl::Status FinishResize(uint64_t new_size, Syncer& syncer) = 0;
};

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_LAYER_H_
