// SPDX-License-Identifier: Apache-2.0
#include "format/addcow/upgrade.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/checked_math.h"
#include "base/status_macros.h"
#include "format/addcow/bitmap.h"
#include "format/addcow/create.h"
#include "io/read_to_end.h"

namespace flatcow::addcow {
namespace {

constexpr uint64_t kBytesAtOnce = 65536;

// Copies the bits of the disk's clusters, and no others. Return values: how
// many are set.
absl::StatusOr<uint64_t> CopyBits(const File& file, uint64_t from,
                                  uint64_t clusters, File& target,
                                  uint64_t to) {
  std::vector<uint8_t> buffer(kBytesAtOnce);
  const uint64_t end = DivideRoundingUp(clusters, 8);
  uint64_t count = 0;
  for (uint64_t at = 0; at < end; at += kBytesAtOnce) {
    const auto bytes = absl::MakeSpan(buffer).first(
        static_cast<size_t>(std::min(kBytesAtOnce, end - at)));
    ASSIGN_OR_RETURN(const size_t length, ReadToEnd(file, from + at, bytes));
    // The file may end before its bitmap does.
    std::fill(bytes.begin() + static_cast<ptrdiff_t>(length), bytes.end(), 0);
    if (at + bytes.size() == end && clusters % 8 != 0) {
      bytes.back() &= static_cast<uint8_t>((1u << clusters % 8) - 1);
    }
    uint64_t set = 0;
    for (const uint8_t byte : bytes) {
      set += static_cast<uint64_t>(std::popcount(byte));
    }
    if (set == 0) continue;
    count += set;
    const iovec piece{bytes.data(), bytes.size()};
    RETURN_IF_ERROR(target.Write(to + at, absl::MakeConstSpan(&piece, 1)));
  }
  return count;
}

}  // namespace

absl::Status Upgrade(const File& file, const Header& header,
                     CreateOptions options, File& target) {
  options.cluster_size = static_cast<uint32_t>(header.cluster_size());
  const uint64_t clusters =
      DivideRoundingUp(*options.size, header.cluster_size());
  ASSIGN_OR_RETURN(const uint64_t allocated,
                   CopyBits(file, header.header_size, clusters, target,
                            HeaderSize(options.cluster_size)));
  const bool is_whole = options.backing_file.empty() && allocated == clusters;
  return WriteNew(target, options, header.all_allocated() || is_whole);
}

}  // namespace flatcow::addcow
