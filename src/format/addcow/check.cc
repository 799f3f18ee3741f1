// SPDX-License-Identifier: Apache-2.0
#include "format/addcow/check.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "format/addcow/bitmap.h"
#include "format/format_driver.h"
#include "format/table_scan.h"

namespace flatcow::addcow {
namespace {

// Clears the bits of one word that stand for no cluster.
absl::Status WriteWord(File& file, uint64_t offset, uint64_t word,
                       uint64_t bytes_in_file) {
  std::array<uint8_t, sizeof(uint64_t)> bytes;
  StoreLittle64(bytes.data(), word);
  const iovec piece{bytes.data(), static_cast<size_t>(bytes_in_file)};
  return file.Write(offset, absl::MakeConstSpan(&piece, 1));
}

}  // namespace

absl::Status Check(File& file, File& image_file, const Header& header,
                   Repair repair, CheckResult& result) {
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  ASSIGN_OR_RETURN(const FileStat image_stat, image_file.Stat());
  const uint64_t clusters =
      DivideRoundingUp(image_stat.size, header.cluster_size());
  result.total_clusters = clusters;
  if (header.all_allocated()) {
    result.allocated_clusters = clusters;
    return absl::OkStatus();
  }
  const uint64_t area =
      std::min(stat.size - header.header_size,
               BitmapBytes(image_stat.size, header.cluster_size()));
  uint64_t stale = 0;
  RETURN_IF_ERROR(ScanWords(
      file, {header.header_size, RoundUp(area, sizeof(uint64_t))},
      [&](uint64_t index, uint64_t word) {
        const uint64_t valid = MaskIn(index, 0, clusters);
        result.allocated_clusters +=
            static_cast<uint64_t>(std::popcount(word & valid));
        const uint64_t past_end = word & ~valid;
        if (past_end == 0) return absl::OkStatus();
        stale += static_cast<uint64_t>(std::popcount(past_end));
        if (repair != Repair::kAll) return absl::OkStatus();
        const uint64_t at = index * sizeof(uint64_t);
        return WriteWord(file, header.header_size + at, word & valid,
                         std::min<uint64_t>(sizeof(uint64_t), area - at));
      }));
  if (stale == 0) return absl::OkStatus();
  if (repair != Repair::kAll) {
    AddProblem(result, absl::StrCat(stale,
                                    " bits are set past the end of the disk: "
                                    "harmless; check -r all clears them"));
    return absl::OkStatus();
  }
  result.changed.push_back(
      absl::StrCat(stale, " bits past the end of the disk were cleared"));
  return file.Sync();
}

}  // namespace flatcow::addcow
