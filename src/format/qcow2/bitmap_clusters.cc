// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/bitmap_clusters.h"

#include <array>

#include "absl/types/span.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/extent.h"
#include "format/qcow2/extensions.h"
#include "format/qcow2/l2_entry.h"
#include "format/table_scan.h"
#include "io/read_to_end.h"

namespace flatcow::qcow2 {
namespace {

constexpr uint32_t kExtensionBitmaps = 0x23852875;
constexpr uint64_t kMaxBitmaps = 65535;
constexpr uint64_t kMaxDirectoryBytes = 64 << 20;
// Of all bitmaps together.
constexpr uint64_t kMaxTableEntries = 1 << 24;
constexpr uint64_t kMaxClusters = 1 << 22;
constexpr uint64_t kEntryHeadBytes = 24;

// Return values: false when there would be too many, or some are not in the
// file.
bool AddClusters(Extent extent, const Header& header, uint64_t file_size,
                 std::vector<uint64_t>& clusters) {
  if (extent.end() > RoundUp(file_size, header.cluster_size())) return false;
  const uint64_t first = extent.offset >> header.cluster_bits;
  const uint64_t count = DivideRoundingUp(extent.length, header.cluster_size());
  if (clusters.size() + count > kMaxClusters) return false;
  for (uint64_t i = 0; i < count; ++i) clusters.push_back(first + i);
  return true;
}

// Of one bitmap. Return values: false when its table can't be one.
absl::StatusOr<bool> AddTable(const File& file, const Header& header,
                              uint64_t file_size, uint64_t offset,
                              uint64_t entries,
                              std::vector<uint64_t>& clusters) {
  const Extent table{offset, entries * sizeof(uint64_t)};
  if (!IsAligned(offset, header.cluster_size()) || offset > kMaxHostOffset ||
      !AddClusters(table, header, file_size, clusters)) {
    return false;
  }
  bool fits = true;
  RETURN_IF_ERROR(ScanWords(file, table, [&](uint64_t, uint64_t word) {
    const uint64_t data = SwapBytes(word) & kOffsetMask;
    // Without an offset all bits are the same.
    if (data != 0 && fits) {
      fits = AddClusters({data, header.cluster_size()}, header, file_size,
                         clusters);
    }
    return absl::OkStatus();
  }));
  return fits;
}

}  // namespace

absl::Status AddBitmapClusters(const File& file, const Header& header,
                               uint64_t file_size,
                               std::vector<uint64_t>& clusters) {
  if ((header.autoclear & kAutoclearBitmaps) == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Extensions extensions, ReadExtensions(file, header));
  const Extensions::Item* const item = extensions.Find(kExtensionBitmaps);
  std::array<uint8_t, kEntryHeadBytes> bytes{};
  if (item == nullptr || item->data.length < bytes.size()) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(
      ReadToEnd(file, item->data.offset, absl::MakeSpan(bytes)).status());
  const uint64_t bitmaps = LoadBig32(bytes.data());
  const Extent directory{LoadBig64(&bytes[16]), LoadBig64(&bytes[8])};
  if (bitmaps > kMaxBitmaps || directory.length > kMaxDirectoryBytes ||
      directory.offset > kMaxHostOffset ||
      !AddClusters(directory, header, file_size, clusters)) {
    return absl::OkStatus();
  }
  uint64_t at = directory.offset;
  uint64_t all_entries = 0;
  for (uint64_t i = 0; i < bitmaps; ++i) {
    if (at + kEntryHeadBytes > directory.end()) break;
    RETURN_IF_ERROR(ReadToEnd(file, at, absl::MakeSpan(bytes)).status());
    all_entries += LoadBig32(&bytes[8]);
    if (all_entries > kMaxTableEntries) break;
    ASSIGN_OR_RETURN(const bool added,
                     AddTable(file, header, file_size, LoadBig64(bytes.data()),
                              LoadBig32(&bytes[8]), clusters));
    if (!added) break;
    const uint64_t name_bytes = uint64_t{bytes[18]} << 8 | bytes[19];
    at += RoundUp(kEntryHeadBytes + LoadBig32(&bytes[20]) + name_bytes,
                  sizeof(uint64_t));
  }
  return absl::OkStatus();
}

}  // namespace flatcow::qcow2
