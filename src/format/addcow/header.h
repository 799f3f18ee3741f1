// SPDX-License-Identifier: Apache-2.0
//
// The header of the final add-cow layout ("ACOW"): 76 bytes, little-endian,
// then the two names, up to HEADER_SIZE, where the COW bitmap begins.
// flatcow-formats(5) has the layout.
#ifndef FLATCOW_FORMAT_ADDCOW_HEADER_H_
#define FLATCOW_FORMAT_ADDCOW_HEADER_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace flatcow::addcow {

inline constexpr size_t kHeaderBytes = 76;
inline constexpr uint32_t kMinClusterBits = 9;
inline constexpr uint32_t kMaxClusterBits = 26;
inline constexpr uint32_t kMaxHeaderSize = 64 << 20;
inline constexpr uint32_t kMaxNameBytes = 4095;
inline constexpr size_t kFormatNameBytes = 16;
inline constexpr uint64_t kCompatAllAllocated = 1;
inline constexpr uint64_t kCompatOffset = 32;

struct Header {
  uint32_t backing_name_offset = 0;
  uint32_t backing_name_size = 0;
  uint32_t image_name_offset = 0;
  uint32_t image_name_size = 0;
  uint32_t cluster_bits = 16;
  uint64_t features = 0;
  uint64_t compat_features = 0;
  uint32_t header_size = 65536;  // bytes; the bitmap starts here
  std::string backing_format;    // empty: no backing file
  std::string image_format;

  uint64_t cluster_size() const { return uint64_t{1} << cluster_bits; }
  bool all_allocated() const {
    return (compat_features & kCompatAllAllocated) != 0;
  }

  friend bool operator==(const Header&, const Header&) = default;
};

bool HasMagic(absl::Span<const uint8_t> bytes);

// Parses and checks every field. Errors: EINVAL, or ENOTSUP for an unknown
// feature; the message names field, value and what was expected.
absl::StatusOr<Header> ParseHeader(absl::Span<const uint8_t> bytes,
                                   uint64_t file_size);

// Precondition: format names of at most 16 bytes.
std::array<uint8_t, kHeaderBytes> SerializeHeader(const Header& header);

}  // namespace flatcow::addcow

#endif  // FLATCOW_FORMAT_ADDCOW_HEADER_H_
