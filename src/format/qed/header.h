// SPDX-License-Identifier: Apache-2.0
//
// The QED header: 64 bytes, little-endian, then (somewhere in the header
// clusters) the backing file name. flatcow-formats(5) has the layout.
#ifndef FLATCOW_FORMAT_QED_HEADER_H_
#define FLATCOW_FORMAT_QED_HEADER_H_

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace flatcow::qed {

inline constexpr size_t kHeaderBytes = 64;
inline constexpr uint64_t kMinClusterSize = 4096;
inline constexpr uint64_t kMaxClusterSize = 64 << 20;
inline constexpr uint32_t kMaxTableSize = 16;
inline constexpr uint64_t kSectorBytes = 512;
inline constexpr uint32_t kMaxBackingNameBytes = 4095;

inline constexpr uint64_t kFeatureBackingFile = 1;
inline constexpr uint64_t kFeatureNeedCheck = 2;
inline constexpr uint64_t kFeatureBackingFormatNoProbe = 4;

// Where fields stand that are rewritten alone.
inline constexpr uint64_t kFeaturesOffset = 16;
inline constexpr uint64_t kAutoclearOffset = 32;
inline constexpr uint64_t kImageSizeOffset = 48;

struct Header {
  uint32_t cluster_size = 65536;  // bytes
  uint32_t table_size = 4;        // clusters
  uint32_t header_size = 1;       // clusters
  uint64_t features = 0;
  uint64_t compat_features = 0;
  uint64_t autoclear_features = 0;
  uint64_t l1_table_offset = 0;
  uint64_t image_size = 0;  // bytes
  uint32_t backing_filename_offset = 0;
  uint32_t backing_filename_size = 0;

  uint64_t table_bytes() const { return uint64_t{table_size} * cluster_size; }
  uint64_t table_entries() const { return table_bytes() / sizeof(uint64_t); }
  uint64_t header_bytes() const { return uint64_t{header_size} * cluster_size; }

  friend bool operator==(const Header&, const Header&) = default;
};

bool HasMagic(absl::Span<const uint8_t> bytes);

// Parses and checks every field against the others and `file_size`.
// Errors: EINVAL, or ENOTSUP for an unknown feature; the message names field,
// value and what was expected.
absl::StatusOr<Header> ParseHeader(absl::Span<const uint8_t> bytes,
                                   uint64_t file_size);

std::array<uint8_t, kHeaderBytes> SerializeHeader(const Header& header);

// The largest image_size that the geometry can map, below 2^63. 0 when QEMU's
// own 64-bit arithmetic for it would wrap and `as_qemu` is set.
uint64_t MaxImageSize(uint64_t cluster_size, uint64_t table_size,
                      bool as_qemu = false);

}  // namespace flatcow::qed

#endif  // FLATCOW_FORMAT_QED_HEADER_H_
