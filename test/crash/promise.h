// SPDX-License-Identifier: Apache-2.0
//
// What a disk may hold after a power cut: the promise of fsync, sector by
// sector. Each request adds versions of the sectors it changes; a flush that
// has returned covers those that are the last then. A sector may read as the
// covered version or as any later one, and as nothing else.
#ifndef FLATCOW_TEST_CRASH_PROMISE_H_
#define FLATCOW_TEST_CRASH_PROMISE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/workload.h"

namespace flatcow {

class Promise {
 public:
  // The disk holds `content`, all of it covered.
  explicit Promise(const std::vector<uint8_t>& content);

  // The request is under way; it has returned.
  void Begin(const DiskRequest& request);
  void End(const DiskRequest& request);

  // The disk was opened anew without having been flushed or closed, as after
  // the death of a daemon, and shows this: from now on that is its newest
  // version. Return values: as those of Check().
  std::string Observe(absl::string_view content);

  // Return values: empty, or what is wrong with a disk that holds `content`
  // after a power cut now.
  std::string Check(absl::string_view content) const;

  // The same for promises that have seen the same.
  uint64_t fingerprint() const { return fingerprint_; }

 private:
  using Sector = std::string;  // its bytes; past the end of the disk, zeroes

  static std::string Padded(std::string content);
  bool Allows(uint64_t sector, absl::string_view bytes) const;
  // The newest version of the sector.
  absl::string_view Newest(uint64_t sector) const;
  void AddVersions(uint64_t offset, absl::string_view bytes);

  std::string covered_;                            // in whole sectors
  std::map<uint64_t, std::vector<Sector>> later_;  // oldest first
  uint64_t size_;
  uint64_t new_size_;  // differs from size_ while the disk grows
  uint64_t fingerprint_ = 0;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_CRASH_PROMISE_H_
