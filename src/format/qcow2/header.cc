// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/header.h"

#include <cerrno>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/load_header.h"

namespace flatcow::qcow2 {
namespace {

constexpr uint8_t kMagic[4] = {'Q', 'F', 'I', 0xfb};
constexpr uint64_t kKnownIncompatible =
    kIncompatibleDirty | kIncompatibleCorrupt | kIncompatibleDataFile |
    kIncompatibleCompression | kIncompatibleExtendedL2;
// 32 subclusters of at least a sector.
constexpr uint32_t kMinExtendedClusterBits = 14;

absl::Status BadField(absl::string_view field, uint64_t value,
                      absl::string_view expected) {
  return MakeError(
      EINVAL, absl::StrCat("qcow2 header: ", field, " is ", value,
                           ", expected ", expected, "; the image is damaged"));
}

absl::Status CheckRange(absl::string_view field, uint64_t value, uint64_t min,
                        uint64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return BadField(field, value, absl::StrCat(min, " to ", max));
}

absl::Status CheckFeatures(const Header& header) {
  if (const uint64_t unknown = header.incompatible & ~kKnownIncompatible;
      unknown != 0) {
    return MakeError(
        ENOTSUP, absl::StrFormat("qcow2 header: incompatible features (byte "
                                 "72) has unknown bits 0x%x set; a newer "
                                 "program made the image",
                                 unknown));
  }
  if (header.data_file_raw() && !header.has_data_file()) {
    return BadField("autoclear features (byte 88)", header.autoclear,
                    "bit 1 (data-file-raw) only with incompatible bit 2 "
                    "(external data file)");
  }
  if (header.extended_l2() && header.cluster_bits < kMinExtendedClusterBits) {
    return BadField("cluster bits (byte 20)", header.cluster_bits,
                    "at least 14 with extended L2 entries");
  }
  if (header.compression_type > kCompressionZstd) {
    return MakeError(ENOTSUP,
                     absl::StrCat("qcow2 header: compression type (byte 104) "
                                  "is ",
                                  header.compression_type,
                                  ", expected 0 (deflate) or 1 (zstd)"));
  }
  const bool says_other = (header.incompatible & kIncompatibleCompression) != 0;
  if (says_other != (header.compression_type != kCompressionDeflate)) {
    return BadField("compression type (byte 104)", header.compression_type,
                    "0 if and only if incompatible bit 3 is clear");
  }
  return absl::OkStatus();
}

absl::Status CheckEncryption(const Header& header) {
  if (header.crypt_method == 0) return absl::OkStatus();
  if (header.crypt_method > 2) {
    return BadField("crypt method (byte 32)", header.crypt_method, "0 to 2");
  }
  return MakeError(
      ENOTSUP,
      absl::StrCat("qcow2 header: the image is encrypted (crypt method ",
                   header.crypt_method, ", ",
                   header.crypt_method == 1 ? "AES" : "LUKS",
                   "), which is not supported"));
}

absl::Status CheckTables(const Header& header, uint64_t file_size) {
  const uint64_t cluster_size = header.cluster_size();
  if (header.size > uint64_t{std::numeric_limits<int64_t>::max()}) {
    return BadField("size (byte 24)", header.size, "less than 2^63");
  }
  if (header.l1_entries > kMaxL1Bytes / sizeof(uint64_t)) {
    return BadField("L1 entries (byte 36)", header.l1_entries,
                    absl::StrCat("at most ", kMaxL1Bytes / sizeof(uint64_t)));
  }
  const uint64_t reach_bits = header.cluster_bits + header.entry_bits();
  const uint64_t needed =
      DivideRoundingUp(header.size, uint64_t{1} << reach_bits);
  if (header.l1_entries < needed) {
    return BadField("L1 entries (byte 36)", header.l1_entries,
                    absl::StrCat("at least ", needed, " for a disk of ",
                                 header.size, " bytes"));
  }
  const uint64_t l1_bytes = header.l1_entries * sizeof(uint64_t);
  if (!IsAligned(header.l1_offset, cluster_size) ||
      (l1_bytes != 0 &&
       (header.l1_offset < cluster_size || header.l1_offset > file_size ||
        l1_bytes > file_size - header.l1_offset))) {
    return BadField("L1 table offset (byte 40)", header.l1_offset,
                    absl::StrCat("a multiple of ", cluster_size,
                                 ", the table of ", l1_bytes,
                                 " bytes behind the header and inside the "
                                 "file of ",
                                 file_size));
  }
  if (!IsAligned(header.refcount_table_offset, cluster_size) ||
      header.refcount_table_offset == 0 ||
      header.refcount_table_offset > kMaxHostOffset) {
    return BadField("refcount table offset (byte 48)",
                    header.refcount_table_offset,
                    absl::StrCat("a multiple of ", cluster_size,
                                 ", not 0, less than 2^56"));
  }
  return CheckRange("refcount table clusters (byte 56)",
                    header.refcount_table_clusters, 1,
                    kMaxRefcountTableBytes / cluster_size);
}

absl::Status CheckBackingName(const Header& header) {
  if (header.backing_name_offset == 0) return absl::OkStatus();
  const uint64_t cluster_size = header.cluster_size();
  if (header.backing_name_size > kMaxBackingNameBytes ||
      header.backing_name_offset < header.header_length ||
      header.backing_name_offset > cluster_size ||
      header.backing_name_size > cluster_size - header.backing_name_offset) {
    return BadField("backing file name offset (byte 8)",
                    header.backing_name_offset,
                    absl::StrCat("a name of at most 1023 bytes (it has ",
                                 header.backing_name_size,
                                 ") between the header and the end of its "
                                 "cluster at ",
                                 cluster_size));
  }
  return absl::OkStatus();
}

// Snapshots refer to clusters of their own, a data file has but one state.
absl::Status CheckDataFile(const Header& header) {
  if (!header.has_data_file()) return absl::OkStatus();
  if (header.snapshots != 0) {
    return BadField("snapshots (byte 60)", header.snapshots,
                    "0 with an external data file");
  }
  if (header.data_file_raw() && header.backing_name_offset != 0 &&
      header.backing_name_size != 0) {
    return BadField("backing file name offset (byte 8)",
                    header.backing_name_offset,
                    "0, as data-file-raw (autoclear bit 1) is set");
  }
  return absl::OkStatus();
}

}  // namespace

bool HasMagic(absl::Span<const uint8_t> bytes) {
  return bytes.size() >= sizeof(kMagic) &&
         std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) == 0;
}

absl::StatusOr<Header> ParseHeader(absl::Span<const uint8_t> bytes,
                                   uint64_t file_size) {
  if (bytes.size() < kVersion2Bytes) {
    return MakeError(
        EINVAL, absl::StrCat("qcow2 header: the file ends after ", bytes.size(),
                             " bytes, expected at least ", kVersion2Bytes,
                             "; the image is damaged"));
  }
  if (!HasMagic(bytes)) {
    return MakeError(EINVAL,
                     "qcow2 header: magic (byte 0) is not 'QFI\\xfb'; the file "
                     "is not a qcow2 image");
  }
  const uint8_t* const data = bytes.data();
  Header header;
  header.version = LoadBig32(data + 4);
  if (header.version < 2 || header.version > 3) {
    return MakeError(ENOTSUP,
                     absl::StrCat("qcow2 header: version (byte 4) is ",
                                  header.version, ", expected 2 or 3"));
  }
  header.backing_name_offset = LoadBig64(data + 8);
  header.backing_name_size = LoadBig32(data + 16);
  header.cluster_bits = LoadBig32(data + 20);
  header.size = LoadBig64(data + kSizeOffset);
  header.crypt_method = LoadBig32(data + 32);
  header.l1_entries = LoadBig32(data + 36);
  header.l1_offset = LoadBig64(data + 40);
  header.refcount_table_offset = LoadBig64(data + 48);
  header.refcount_table_clusters = LoadBig32(data + 56);
  header.snapshots = LoadBig32(data + 60);
  header.snapshots_offset = LoadBig64(data + 64);
  header.header_length = kVersion2Bytes;
  RETURN_IF_ERROR(CheckRange("cluster bits (byte 20)", header.cluster_bits,
                             kMinClusterBits, kMaxClusterBits));
  if (header.version == 3) {
    if (bytes.size() < kVersion3Bytes) {
      return MakeError(EINVAL,
                       absl::StrCat("qcow2 header: the file ends after ",
                                    bytes.size(), " bytes, expected at least ",
                                    kVersion3Bytes, "; the image is damaged"));
    }
    header.incompatible = LoadBig64(data + kIncompatibleOffset);
    header.compatible = LoadBig64(data + 80);
    header.autoclear = LoadBig64(data + kAutoclearOffset);
    header.refcount_order = LoadBig32(data + 96);
    header.header_length = LoadBig32(data + 100);
    RETURN_IF_ERROR(CheckRange("header length (byte 100)", header.header_length,
                               kVersion3Bytes, header.cluster_size()));
    if (header.header_length > kVersion3Bytes &&
        bytes.size() > kVersion3Bytes) {
      header.compression_type = data[kVersion3Bytes];
    }
    RETURN_IF_ERROR(CheckRange("refcount order (byte 96)",
                               header.refcount_order, 0, kMaxRefcountOrder));
  }
  RETURN_IF_ERROR(CheckFeatures(header));
  RETURN_IF_ERROR(CheckEncryption(header));
  RETURN_IF_ERROR(CheckTables(header, file_size));
  RETURN_IF_ERROR(CheckBackingName(header));
  RETURN_IF_ERROR(CheckDataFile(header));
  return header;
}

absl::StatusOr<Header> LoadHeader(const File& file) {
  return LoadHeaderOf<kWrittenBytes>(file, ParseHeader);
}

std::array<uint8_t, kWrittenBytes> SerializeHeader(const Header& header) {
  std::array<uint8_t, kWrittenBytes> bytes{};
  std::memcpy(bytes.data(), kMagic, sizeof(kMagic));
  StoreBig32(&bytes[4], header.version);
  StoreBig64(&bytes[8], header.backing_name_offset);
  StoreBig32(&bytes[16], header.backing_name_size);
  StoreBig32(&bytes[20], header.cluster_bits);
  StoreBig64(&bytes[kSizeOffset], header.size);
  StoreBig32(&bytes[32], header.crypt_method);
  StoreBig32(&bytes[36], header.l1_entries);
  StoreBig64(&bytes[40], header.l1_offset);
  StoreBig64(&bytes[48], header.refcount_table_offset);
  StoreBig32(&bytes[56], header.refcount_table_clusters);
  StoreBig32(&bytes[60], header.snapshots);
  StoreBig64(&bytes[64], header.snapshots_offset);
  StoreBig64(&bytes[kIncompatibleOffset], header.incompatible);
  StoreBig64(&bytes[80], header.compatible);
  StoreBig64(&bytes[kAutoclearOffset], header.autoclear);
  StoreBig32(&bytes[96], header.refcount_order);
  StoreBig32(&bytes[100], header.header_length);
  bytes[kVersion3Bytes] = header.compression_type;
  return bytes;
}

}  // namespace flatcow::qcow2
