// SPDX-License-Identifier: Apache-2.0
#include "format/table_scan.h"

#include <algorithm>
#include <vector>

#include "base/byte_order.h"
#include "base/status_macros.h"
#include "io/read_to_end.h"

namespace flatcow {

absl::Status ScanWords(
    const File& file, Extent bytes,
    absl::FunctionRef<absl::Status(uint64_t index, uint64_t word)> visit) {
  constexpr uint64_t kWordBytes = sizeof(uint64_t);
  std::vector<uint8_t> buffer(64 << 10);
  uint64_t at = bytes.offset;
  while (at < bytes.end()) {
    ASSIGN_OR_RETURN(const uint64_t data, file.SeekData(at));
    // Words are counted from the start of the table, wherever data begins.
    at = std::max(at, bytes.offset + (data - std::min(data, bytes.offset)) /
                                         kWordBytes * kWordBytes);
    if (at >= bytes.end()) break;
    const size_t wanted = static_cast<size_t>(
        std::min<uint64_t>(buffer.size(), bytes.end() - at));
    ASSIGN_OR_RETURN(const size_t length,
                     ReadToEnd(file, at, absl::MakeSpan(buffer).first(wanted)));
    // The file may end inside the last word.
    const size_t words = (length + kWordBytes - 1) / kWordBytes;
    std::fill(buffer.begin() + static_cast<ptrdiff_t>(length),
              buffer.begin() + static_cast<ptrdiff_t>(words * kWordBytes), 0);
    for (size_t i = 0; i < words; ++i) {
      const uint64_t word = LoadLittle64(&buffer[i * kWordBytes]);
      if (word == 0) continue;
      RETURN_IF_ERROR(visit((at - bytes.offset) / kWordBytes + i, word));
    }
    if (length < wanted || words == 0) break;
    at += words * kWordBytes;
  }
  return absl::OkStatus();
}

}  // namespace flatcow
