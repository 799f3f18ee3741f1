// SPDX-License-Identifier: Apache-2.0
//
// The qcow2 header, versions 2 and 3: big-endian, 72 bytes, or at least 104
// since version 3; then header extensions and the name of the backing file, all
// in the first cluster. flatcow-formats(5) has the layout.
#ifndef FLATCOW_FORMAT_QCOW2_HEADER_H_
#define FLATCOW_FORMAT_QCOW2_HEADER_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "flatcow/file.h"

namespace flatcow::qcow2 {

inline constexpr uint32_t kVersion2Bytes = 72;
inline constexpr uint32_t kVersion3Bytes = 104;
// What this program writes: with the compression type.
inline constexpr uint32_t kWrittenBytes = 112;
inline constexpr uint32_t kMinClusterBits = 9;
inline constexpr uint32_t kMaxClusterBits = 21;
inline constexpr uint32_t kMaxRefcountOrder = 6;
inline constexpr uint64_t kMaxL1Bytes = 32 << 20;
inline constexpr uint64_t kMaxRefcountTableBytes = 8 << 20;
inline constexpr uint64_t kMaxHostOffset = (uint64_t{1} << 56) - 1;
inline constexpr uint32_t kMaxBackingNameBytes = 1023;

inline constexpr uint64_t kIncompatibleDirty = 1 << 0;
inline constexpr uint64_t kIncompatibleCorrupt = 1 << 1;
inline constexpr uint64_t kIncompatibleDataFile = 1 << 2;
inline constexpr uint64_t kIncompatibleCompression = 1 << 3;
inline constexpr uint64_t kIncompatibleExtendedL2 = 1 << 4;
inline constexpr uint64_t kCompatibleLazyRefcounts = 1 << 0;
inline constexpr uint64_t kAutoclearBitmaps = 1 << 0;
inline constexpr uint64_t kAutoclearDataFileRaw = 1 << 1;

inline constexpr uint8_t kCompressionDeflate = 0;
inline constexpr uint8_t kCompressionZstd = 1;

inline constexpr uint64_t kSizeOffset = 24;
inline constexpr uint64_t kIncompatibleOffset = 72;
inline constexpr uint64_t kAutoclearOffset = 88;

struct Header {
  uint32_t version = 3;
  uint64_t backing_name_offset = 0;
  uint32_t backing_name_size = 0;
  uint32_t cluster_bits = 16;
  uint64_t size = 0;  // of the disk, bytes
  uint32_t crypt_method = 0;
  uint32_t l1_entries = 0;
  uint64_t l1_offset = 0;
  uint64_t refcount_table_offset = 0;
  uint32_t refcount_table_clusters = 0;
  uint32_t snapshots = 0;
  uint64_t snapshots_offset = 0;
  uint64_t incompatible = 0;
  uint64_t compatible = 0;
  uint64_t autoclear = 0;
  uint32_t refcount_order = 4;
  uint32_t header_length = kWrittenBytes;
  uint8_t compression_type = kCompressionDeflate;

  uint64_t cluster_size() const { return uint64_t{1} << cluster_bits; }
  uint32_t refcount_bits() const { return uint32_t{1} << refcount_order; }
  bool has_data_file() const {
    return (incompatible & kIncompatibleDataFile) != 0;
  }
  bool data_file_raw() const {
    return (autoclear & kAutoclearDataFileRaw) != 0;
  }
  bool extended_l2() const {
    return (incompatible & kIncompatibleExtendedL2) != 0;
  }
  // 64-bit words of an L2 entry, and how many entries a table has.
  uint32_t entry_words() const { return extended_l2() ? 2 : 1; }
  uint32_t entry_bits() const {
    return cluster_bits - 3 - (extended_l2() ? 1 : 0);
  }

  friend bool operator==(const Header&, const Header&) = default;
};

bool HasMagic(absl::Span<const uint8_t> bytes);

// Parses and checks every field. Errors: EINVAL; ENOTSUP for an unknown feature
// or an encrypted image; the message names field, value and what was expected.
absl::StatusOr<Header> ParseHeader(absl::Span<const uint8_t> bytes,
                                   uint64_t file_size);

// The same of a file; errors name it.
absl::StatusOr<Header> LoadHeader(const File& file);

std::array<uint8_t, kWrittenBytes> SerializeHeader(const Header& header);

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_HEADER_H_
