// SPDX-License-Identifier: Apache-2.0
//
// What the start of a disk must show, as far as that is known.
#ifndef FLATCOW_TEST_FUZZ_KNOWN_CONTENT_H_
#define FLATCOW_TEST_FUZZ_KNOWN_CONTENT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "flatcow/extent.h"

namespace flatcow {

class KnownContent {
 public:
  static constexpr uint64_t kMostBytes = 128 << 10;

  // Nothing is known any more.
  void ForgetAll() { Forget({0, kMostBytes}); }

  void Forget(Extent extent) {
    const size_t length = Clip(extent);
    if (length != 0) std::memset(&known_[extent.offset], 0, length);
  }

  // The disk holds `data` at `offset` from now on.
  void Learn(uint64_t offset, absl::Span<const uint8_t> data) {
    const size_t length = Clip({offset, data.size()});
    if (length == 0) return;
    std::memcpy(&bytes_[offset], data.data(), length);
    std::memset(&known_[offset], 1, length);
  }

  void LearnZeroes(Extent extent) {
    const size_t length = Clip(extent);
    if (length == 0) return;
    std::memset(&bytes_[extent.offset], 0, length);
    std::memset(&known_[extent.offset], 1, length);
  }

  // The first byte of `data`, read at `offset`, that should be another.
  std::optional<uint64_t> Mismatch(uint64_t offset,
                                   absl::Span<const uint8_t> data) const {
    const size_t length = Clip({offset, data.size()});
    if (length == 0 || std::memcmp(&bytes_[offset], data.data(), length) == 0) {
      return std::nullopt;
    }
    for (size_t i = 0; i < length; ++i) {
      if (known_[offset + i] != 0 && bytes_[offset + i] != data[i]) {
        return offset + i;
      }
    }
    return std::nullopt;
  }

 private:
  // How much of the extent is kept here.
  static size_t Clip(Extent extent) {
    if (extent.offset >= kMostBytes) return 0;
    return std::min(extent.length, kMostBytes - extent.offset);
  }

  std::vector<uint8_t> bytes_ = std::vector<uint8_t>(kMostBytes);
  std::vector<uint8_t> known_ = std::vector<uint8_t>(kMostBytes);
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_FUZZ_KNOWN_CONTENT_H_
