// SPDX-License-Identifier: Apache-2.0
#include "format/addcow/header.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "base/byte_order.h"
#include "flatcow/status.h"

namespace flatcow::addcow {
namespace {

constexpr uint8_t kMagic[4] = {'A', 'C', 'O', 'W'};
constexpr size_t kBackingFormatOffset = 44;
constexpr size_t kImageFormatOffset = 60;

absl::Status BadField(absl::string_view field, absl::string_view value,
                      absl::string_view expected) {
  return MakeError(
      EINVAL, absl::StrCat("add-cow header: ", field, " is ", value,
                           ", expected ", expected, "; the image is damaged"));
}

// The bytes up to the zero padding. Errors: a byte behind the padding, or one
// that is not ASCII text.
absl::StatusOr<std::string> ParseFormatName(const uint8_t* bytes,
                                            absl::string_view field) {
  const uint8_t* const end = bytes + kFormatNameBytes;
  const uint8_t* const padding = std::find(bytes, end, 0);
  const bool clean =
      std::all_of(padding, end, [](uint8_t c) { return c == 0; }) &&
      std::all_of(bytes, padding, [](uint8_t c) { return c > 32 && c < 127; });
  if (!clean) {
    return BadField(field, "not a name",
                    "an ASCII format name, zero padded on the right");
  }
  return std::string(bytes, padding);
}

absl::Status CheckName(absl::string_view field, uint32_t offset, uint32_t size,
                       uint32_t header_size) {
  if (size == 0 || size > kMaxNameBytes) {
    return BadField(absl::StrCat(field, " size"), absl::StrCat(size),
                    "1 to 4095");
  }
  if (offset < kHeaderBytes || uint64_t{offset} + size > header_size) {
    return BadField(absl::StrCat(field, " offset"), absl::StrCat(offset),
                    absl::StrCat("at least 76, the name of ", size,
                                 " bytes ending by HEADER_SIZE ", header_size));
  }
  return absl::OkStatus();
}

absl::Status CheckNames(const Header& header) {
  if (absl::Status status =
          CheckName("image file name (byte 12)", header.image_name_offset,
                    header.image_name_size, header.header_size);
      !status.ok()) {
    return status;
  }
  if (header.image_format.empty()) {
    return BadField("image file format (byte 60)", "empty", "a format name");
  }
  const bool has_backing = header.backing_name_offset != 0;
  if (has_backing != (header.backing_name_size != 0)) {
    return BadField("backing file name size (byte 8)",
                    absl::StrCat(header.backing_name_size),
                    "0 if and only if the offset at byte 4 is 0");
  }
  if (has_backing == header.backing_format.empty()) {
    return BadField("backing file format (byte 44)",
                    has_backing ? "empty" : header.backing_format,
                    "empty if and only if there is no backing file");
  }
  if (!has_backing) return absl::OkStatus();
  return CheckName("backing file name (byte 4)", header.backing_name_offset,
                   header.backing_name_size, header.header_size);
}

}  // namespace

bool HasMagic(absl::Span<const uint8_t> bytes) {
  return bytes.size() >= sizeof(kMagic) &&
         std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) == 0;
}

absl::StatusOr<Header> ParseHeader(absl::Span<const uint8_t> bytes,
                                   uint64_t file_size) {
  if (bytes.size() < kHeaderBytes) {
    return MakeError(EINVAL,
                     absl::StrCat("add-cow header: the file ends after ",
                                  bytes.size(), " bytes, expected at least ",
                                  kHeaderBytes, "; the image is damaged"));
  }
  if (!HasMagic(bytes)) {
    return MakeError(EINVAL,
                     "add-cow header: magic (byte 0) is not 'ACOW'; the file "
                     "is not an add-cow image");
  }
  const uint8_t* const data = bytes.data();
  Header header;
  header.backing_name_offset = LoadLittle32(data + 4);
  header.backing_name_size = LoadLittle32(data + 8);
  header.image_name_offset = LoadLittle32(data + 12);
  header.image_name_size = LoadLittle32(data + 16);
  header.cluster_bits = LoadLittle32(data + 20);
  header.features = LoadLittle64(data + 24);
  header.compat_features = LoadLittle64(data + kCompatOffset);
  header.header_size = LoadLittle32(data + 40);

  if (header.features != 0) {
    return MakeError(
        ENOTSUP,
        absl::StrFormat("add-cow header: features (byte 24) has unknown bits "
                        "0x%x set, expected none; a newer program made the "
                        "image",
                        header.features));
  }
  if (header.cluster_bits < kMinClusterBits ||
      header.cluster_bits > kMaxClusterBits) {
    return BadField("cluster bits (byte 20)", absl::StrCat(header.cluster_bits),
                    "9 to 26");
  }
  if (header.header_size < kHeaderBytes ||
      header.header_size > kMaxHeaderSize) {
    return BadField("HEADER_SIZE (byte 40)", absl::StrCat(header.header_size),
                    "76 to 67108864");
  }
  if (file_size < header.header_size) {
    return BadField("HEADER_SIZE (byte 40)", absl::StrCat(header.header_size),
                    absl::StrCat("at most the file's size, ", file_size));
  }
  auto backing_format = ParseFormatName(data + kBackingFormatOffset,
                                        "backing file format (byte 44)");
  if (!backing_format.ok()) return backing_format.status();
  header.backing_format = *std::move(backing_format);
  auto image_format =
      ParseFormatName(data + kImageFormatOffset, "image file format (byte 60)");
  if (!image_format.ok()) return image_format.status();
  header.image_format = *std::move(image_format);
  if (const absl::Status status = CheckNames(header); !status.ok()) {
    return status;
  }
  return header;
}

std::array<uint8_t, kHeaderBytes> SerializeHeader(const Header& header) {
  std::array<uint8_t, kHeaderBytes> bytes{};
  std::memcpy(bytes.data(), kMagic, sizeof(kMagic));
  StoreLittle32(&bytes[4], header.backing_name_offset);
  StoreLittle32(&bytes[8], header.backing_name_size);
  StoreLittle32(&bytes[12], header.image_name_offset);
  StoreLittle32(&bytes[16], header.image_name_size);
  StoreLittle32(&bytes[20], header.cluster_bits);
  StoreLittle64(&bytes[24], header.features);
  StoreLittle64(&bytes[kCompatOffset], header.compat_features);
  StoreLittle32(&bytes[40], header.header_size);
  std::copy(header.backing_format.begin(), header.backing_format.end(),
            bytes.begin() + kBackingFormatOffset);
  std::copy(header.image_format.begin(), header.image_format.end(),
            bytes.begin() + kImageFormatOffset);
  return bytes;
}

}  // namespace flatcow::addcow
