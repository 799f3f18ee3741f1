// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_OPS_DISK_WRITER_H_
#define FLATCOW_OPS_DISK_WRITER_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "flatcow/file.h"
#include "flatcow/image.h"

namespace flatcow {

// Writes to a disk what another shows, leaving out what the disk shows already.
// Thread-safe for pieces that do not overlap.
class DiskWriter {
 public:
  struct Options {
    // The disk reads as zeroes wherever nothing has been written.
    bool is_zero = false;
    // Zeroes in data are not written as data in runs of so many bytes; 0: all
    // are, and host space for zeroes is reserved.
    uint64_t sparse_bytes = 4096;
  };

  // `flat` is the file that is the disk, byte for byte, and may be null.
  DiskWriter(Image& disk, std::unique_ptr<File> flat, const Options& options)
      : disk_(disk), flat_(std::move(flat)), options_(options) {}

  absl::Status WriteZeroes(Extent extent);
  absl::Status WriteData(uint64_t offset, absl::Span<const uint8_t> data);

  // Writes what `source` shows there, through `buffer`, which is as long as the
  // extent at least. The host shares blocks of files where it can, or copies
  // within the kernel when zeroes need not be found.
  absl::Status CopyFrom(Image& source, Extent extent,
                        absl::Span<uint8_t> buffer);

  // Bytes of data written or shared.
  uint64_t written_bytes() const { return written_.load(); }

 private:
  // Return values: bytes from the start of the segment that the host did.
  absl::StatusOr<uint64_t> LetHostCopy(const Segment& segment, uint64_t offset);

  Image& disk_;
  const std::unique_ptr<File> flat_;
  const Options options_;
  std::atomic<bool> host_copies_{true};
  std::atomic<uint64_t> written_{0};
};

}  // namespace flatcow

#endif  // FLATCOW_OPS_DISK_WRITER_H_
