// SPDX-License-Identifier: Apache-2.0
//
// What a disk may show after requests some of which failed.
//
// Each sector of 512 bytes has a set of contents that it may show now, and the
// contents that it had since the last flush: a loss takes it back to one of
// those.
#ifndef FLATCOW_TEST_FAULT_SECTOR_MODEL_H_
#define FLATCOW_TEST_FAULT_SECTOR_MODEL_H_

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "model/workload.h"

namespace flatcow {

class SectorModel {
 public:
  explicit SectorModel(const std::vector<uint8_t>& content);

  // The request worked: each sector has its new content.
  void Succeeded(const DiskRequest& request);
  // It failed: old or new.
  void Failed(const DiskRequest& request);
  // Everything until now is durable.
  void Flushed();
  // What was not flushed may be lost, sector by sector.
  void LoseUnflushed();

  // May the disk show `content`? From now on it must show just that; with
  // `changes` it may still become anything it might have shown instead. Return
  // values: empty, or what is wrong.
  std::string Observe(absl::Span<const uint8_t> content, bool changes = false);

  bool MayHaveSize(uint64_t size) const { return sizes_.count(size) != 0; }

 private:
  using Contents = std::set<std::string>;
  struct Sector {
    Contents now;
    Contents since_flush;  // those now too
  };

  void Change(const DiskRequest& request, bool keep_old);
  Sector& SectorAt(uint64_t offset);

  std::vector<Sector> sectors_;
  std::set<uint64_t> sizes_;  // bytes; the disk has one of them
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_FAULT_SECTOR_MODEL_H_
