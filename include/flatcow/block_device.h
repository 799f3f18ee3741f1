// SPDX-License-Identifier: Apache-2.0
//
// A virtual disk: what a guest sees.
#ifndef FLATCOW_BLOCK_DEVICE_H_
#define FLATCOW_BLOCK_DEVICE_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "flatcow/extent.h"

namespace flatcow {

// All offsets and lengths are bytes of the virtual disk, of any alignment.
// All methods are thread-safe; operations that overlap in place and time may
// take effect in any order, sector by sector. An operation that fails may have
// taken effect in part.
class BlockDevice {
 public:
  virtual ~BlockDevice() = default;

  // The disk's size; changes only by Resize() and what an Image has besides:
  // Shrink(), AdoptGrowth().
  virtual uint64_t Size() const = 0;

  // Return values: bytes read, less than buffer.size() only when the disk ends
  // there; 0 at or past the end.
  virtual absl::StatusOr<size_t> Read(uint64_t guest_offset,
                                      absl::Span<uint8_t> buffer) = 0;

  // Return values: bytes written, less than data.size() only when the disk
  // ends there. At or past the end: ENOSPC. Read-only: EROFS. After a failed
  // sync: EIO.
  virtual absl::StatusOr<size_t> Write(uint64_t guest_offset,
                                       absl::Span<const uint8_t> data) = 0;

  // Makes exactly the extent read as zeroes, freeing host space where the
  // format can. Past the end: EFBIG.
  virtual absl::Status WriteZeroes(Extent extent) = 0;

  // A hint that the extent is not needed; its clusters may read as zeroes
  // afterwards, or as before. Past the end: ignored.
  virtual absl::Status Discard(Extent extent) = 0;

  // Makes sure that later writes to the extent need no new host space; the
  // content stays. Past the end: EFBIG.
  virtual absl::Status Allocate(Extent extent) = 0;

  // Returns when every write that completed before the call is durable, the
  // metadata that reaches it included. After a failure to write (ENOSPC, ...)
  // it may be tried again; after a failed sync it is EIO until the image has
  // been opened again, and so are writes.
  virtual absl::Status Flush() = 0;

  // Where the bytes of the extent are: segments that cover it exactly. Host
  // holes of raw files are reported as zero segments.
  // Precondition: the extent lies within the disk.
  virtual absl::StatusOr<SegmentList> Map(Extent extent) = 0;

  // Grows the disk; new bytes read as zeroes. Smaller than Size(): EPERM. A
  // size that the format can't hold: EINVAL, or EFBIG when it is too large.
  virtual absl::Status Resize(uint64_t new_size) = 0;
};

}  // namespace flatcow

#endif  // FLATCOW_BLOCK_DEVICE_H_
