// SPDX-License-Identifier: Apache-2.0
//
// What a disk may show after a crash, sector by sector.
//
//   VersionedDisk disk(16 << 20, VersionedDisk::Content::kStamped);
//   pwrite(fd, disk.Write(extent).data(), ...);  // from now on old or new
//   disk.Complete(extent);                       // it has returned
//   fsync(fd);
//   disk.MarkDurable(extent);                    // from now on new
//   ... crash ...
//   disk.Verify(content)
//
// Each sector that is written says which sector and version it is, all over.
#ifndef FLATCOW_TEST_MOUNT_VERSIONED_DISK_H_
#define FLATCOW_TEST_MOUNT_VERSIONED_DISK_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "flatcow/extent.h"

namespace flatcow {

// Threads may use it at once, each for sectors of its own. Extents consist of
// whole sectors.
class VersionedDisk {
 public:
  static constexpr uint64_t kSector = 512;

  enum class Content { kZeroes, kStamped };

  VersionedDisk(uint64_t size, Content original);

  uint64_t size() const { return sectors_.size() * kSector; }

  // What the disk holds before the first write.
  std::vector<uint8_t> Original() const;

  // A write (of zeroes) is about to be issued. Return values: its bytes.
  std::vector<uint8_t> Write(Extent extent);
  void Zero(Extent extent);

  // The last write to the extent has returned without an error.
  void Complete(Extent extent);
  // All that was complete is durable.
  void MarkDurable(Extent extent);

  struct Findings {
    uint64_t lost = 0;     // sectors older than what was durable
    uint64_t foreign = 0;  // sectors that nobody has ever written so
    std::string first;     // empty if there are none
  };
  // Compares with the whole disk. What it holds is durable from now on.
  Findings Verify(absl::Span<const uint8_t> content);

 private:
  using Version = uint64_t;

  struct Sector {
    // Ascending in time. The first is durable.
    absl::InlinedVector<Version, 2> may_show;
    size_t complete = 0;  // which of them has last returned
  };

  absl::Span<Sector> SectorsOf(Extent extent);

  const uint64_t tag_;
  std::atomic<Version> last_version_;
  std::vector<Sector> sectors_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_MOUNT_VERSIONED_DISK_H_
