// SPDX-License-Identifier: Apache-2.0
#include "format/qed/header.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "flatcow/status.h"

namespace flatcow::qed {
namespace {

constexpr uint8_t kMagic[4] = {'Q', 'E', 'D', 0};
constexpr uint64_t kKnownFeatures =
    kFeatureBackingFile | kFeatureNeedCheck | kFeatureBackingFormatNoProbe;

absl::Status BadField(absl::string_view field, uint64_t value,
                      absl::string_view expected) {
  return MakeError(
      EINVAL, absl::StrCat("QED header: ", field, " is ", value, ", expected ",
                           expected, "; the image is damaged"));
}

absl::Status CheckGeometry(const Header& header) {
  if (!std::has_single_bit(header.cluster_size) ||
      header.cluster_size < kMinClusterSize ||
      header.cluster_size > kMaxClusterSize) {
    return BadField("cluster_size (byte 4)", header.cluster_size,
                    "a power of two from 4096 to 67108864");
  }
  if (!std::has_single_bit(header.table_size) ||
      header.table_size > kMaxTableSize) {
    return BadField("table_size (byte 8)", header.table_size,
                    "a power of two from 1 to 16");
  }
  if (header.header_size == 0 ||
      header.header_bytes() > std::numeric_limits<uint32_t>::max()) {
    return BadField("header_size (byte 12)", header.header_size,
                    "at least 1 cluster and less than 4 GiB");
  }
  const uint64_t max = MaxImageSize(header.cluster_size, header.table_size);
  if (header.image_size % kSectorBytes != 0 || header.image_size > max) {
    return BadField("image_size (byte 48)", header.image_size,
                    absl::StrCat("a multiple of 512, at most ", max));
  }
  return absl::OkStatus();
}

absl::Status CheckL1Table(const Header& header, uint64_t file_size) {
  const uint64_t usable = RoundDown(file_size, header.cluster_size);
  if (!IsAligned(header.l1_table_offset, header.cluster_size) ||
      header.l1_table_offset < header.header_bytes() ||
      header.l1_table_offset > usable ||
      usable - header.l1_table_offset < header.table_bytes()) {
    return BadField("l1_table_offset (byte 40)", header.l1_table_offset,
                    absl::StrCat("a multiple of ", header.cluster_size,
                                 " past the header with ", header.table_bytes(),
                                 " bytes of table inside the file of ",
                                 file_size, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status CheckBackingName(const Header& header) {
  if ((header.features & kFeatureBackingFile) == 0) return absl::OkStatus();
  if (header.backing_filename_size == 0 ||
      header.backing_filename_size > kMaxBackingNameBytes) {
    return BadField("backing_filename_size (byte 60)",
                    header.backing_filename_size, "1 to 4095");
  }
  const uint64_t end =
      uint64_t{header.backing_filename_offset} + header.backing_filename_size;
  if (header.backing_filename_offset < kHeaderBytes ||
      end > header.header_bytes()) {
    return BadField(
        "backing_filename_offset (byte 56)", header.backing_filename_offset,
        absl::StrCat("at least 64, the name of ", header.backing_filename_size,
                     " bytes ending by ", header.header_bytes()));
  }
  return absl::OkStatus();
}

}  // namespace

bool HasMagic(absl::Span<const uint8_t> bytes) {
  return bytes.size() >= sizeof(kMagic) &&
         std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) == 0;
}

uint64_t MaxImageSize(uint64_t cluster_size, uint64_t table_size,
                      bool as_qemu) {
  constexpr uint64_t kMost =
      RoundDown(std::numeric_limits<int64_t>::max(), kSectorBytes);
  const uint64_t entries = table_size * cluster_size / sizeof(uint64_t);
  const auto clusters = CheckedMultiply(entries, entries);
  const auto bytes = clusters.has_value()
                         ? CheckedMultiply(*clusters, cluster_size)
                         : std::nullopt;
  if (!bytes.has_value()) return as_qemu ? 0 : kMost;
  return *bytes < kMost ? *bytes : kMost;
}

absl::StatusOr<Header> ParseHeader(absl::Span<const uint8_t> bytes,
                                   uint64_t file_size) {
  if (bytes.size() < kHeaderBytes) {
    return MakeError(
        EINVAL, absl::StrCat("QED header: the file ends after ", bytes.size(),
                             " bytes, expected at least ", kHeaderBytes,
                             "; the image is damaged"));
  }
  if (!HasMagic(bytes)) {
    return MakeError(EINVAL,
                     "QED header: magic (byte 0) is not 'QED\\0'; the file is "
                     "not a QED image");
  }
  const uint8_t* const data = bytes.data();
  Header header;
  header.cluster_size = LoadLittle32(data + 4);
  header.table_size = LoadLittle32(data + 8);
  header.header_size = LoadLittle32(data + 12);
  header.features = LoadLittle64(data + kFeaturesOffset);
  header.compat_features = LoadLittle64(data + 24);
  header.autoclear_features = LoadLittle64(data + kAutoclearOffset);
  header.l1_table_offset = LoadLittle64(data + 40);
  header.image_size = LoadLittle64(data + kImageSizeOffset);
  header.backing_filename_offset = LoadLittle32(data + 56);
  header.backing_filename_size = LoadLittle32(data + 60);

  if (const uint64_t unknown = header.features & ~kKnownFeatures;
      unknown != 0) {
    return MakeError(
        ENOTSUP,
        absl::StrFormat(
            "QED header: features (byte 16) has unknown bits 0x%x set, "
            "expected none but 0x%x; a newer program made the image",
            unknown, kKnownFeatures));
  }
  if (const absl::Status status = CheckGeometry(header); !status.ok()) {
    return status;
  }
  if (const absl::Status status = CheckL1Table(header, file_size);
      !status.ok()) {
    return status;
  }
  if (const absl::Status status = CheckBackingName(header); !status.ok()) {
    return status;
  }
  return header;
}

std::array<uint8_t, kHeaderBytes> SerializeHeader(const Header& header) {
  std::array<uint8_t, kHeaderBytes> bytes{};
  std::memcpy(bytes.data(), kMagic, sizeof(kMagic));
  StoreLittle32(&bytes[4], header.cluster_size);
  StoreLittle32(&bytes[8], header.table_size);
  StoreLittle32(&bytes[12], header.header_size);
  StoreLittle64(&bytes[kFeaturesOffset], header.features);
  StoreLittle64(&bytes[24], header.compat_features);
  StoreLittle64(&bytes[kAutoclearOffset], header.autoclear_features);
  StoreLittle64(&bytes[40], header.l1_table_offset);
  StoreLittle64(&bytes[kImageSizeOffset], header.image_size);
  StoreLittle32(&bytes[56], header.backing_filename_offset);
  StoreLittle32(&bytes[60], header.backing_filename_size);
  return bytes;
}

}  // namespace flatcow::qed
