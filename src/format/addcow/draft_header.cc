// SPDX-License-Identifier: Apache-2.0
#include "format/addcow/draft_header.h"

#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/byte_order.h"
#include "base/status_macros.h"
#include "format/addcow/header_fields.h"

namespace flatcow::addcow {
namespace {

constexpr uint8_t kMagic[8] = {'A', 'D', 'D', '_', 'C', 'O', 'W', 0xff};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kPageBytes = 4096;
constexpr uint32_t kPages = 1;
constexpr uint32_t kPagesOffset = 44;
constexpr size_t kJuneBytes = 36;
constexpr size_t kJulyBytes = 80;

constexpr uint64_t kBackingFile = 1;
constexpr uint64_t kJuneBackingIsRaw = 2;
constexpr uint64_t kJulyImageFile = 2;

constexpr uint32_t kLastNameOffset = 4094;
constexpr NameFields kJuneFields = {.backing_offset = 12,
                                    .image_offset = 20,
                                    .backing_format = 0,
                                    .image_format = 0,
                                    .first = kJuneBytes,
                                    .last = kLastNameOffset};
constexpr NameFields kJulyFields = {.backing_offset = 12,
                                    .image_offset = 20,
                                    .backing_format = 48,
                                    .image_format = 64,
                                    .first = kJulyBytes,
                                    .last = kLastNameOffset};

bool IsIn(uint64_t byte, uint32_t offset, uint32_t size) {
  return offset != 0 && byte >= offset && byte - offset < size;
}

// An offset of 0 is no name.
bool HasNameBelow(const Header& header, uint32_t limit) {
  const auto is_below = [limit](uint32_t offset) {
    return offset != 0 && offset < limit;
  };
  return is_below(header.backing_name_offset) ||
         is_below(header.image_name_offset);
}

// Neither has a field that says which draft it is, so the decision is strict:
// in an image of June the word is reserved, or holds a part of a name.
absl::StatusOr<Layout> DecideLayout(const uint8_t* data, const Header& header) {
  const uint32_t pages = LoadLittle32(data + kPagesOffset);
  if (pages == kPages && !HasNameBelow(header, kJulyBytes)) {
    return Layout::kJuly2012;
  }
  for (uint32_t byte = kPagesOffset; byte < kPagesOffset + 4; ++byte) {
    if (data[byte] == 0 ||
        IsIn(byte, header.backing_name_offset, header.backing_name_size) ||
        IsIn(byte, header.image_name_offset, header.image_name_size)) {
      continue;
    }
    return BadField(
        "header size in pages (byte 44)", absl::StrCat(pages),
        "1 with both names from byte 80 on (draft of July 2012), or 0 or a "
        "part of a name (draft of June 2012)");
  }
  return Layout::kJune2012;
}

absl::Status CheckFeature(uint64_t features, uint64_t bit,
                          absl::string_view meaning, uint32_t name_offset,
                          uint32_t field) {
  if (((features & bit) != 0) == (name_offset != 0)) return absl::OkStatus();
  return BadField(
      "features (byte 28)", absl::StrFormat("0x%x", features),
      absl::StrCat("bit ", bit, " (", meaning,
                   ") if and only if the offset at byte ", field, " is not 0"));
}

absl::Status ParseJune(uint64_t features, Header& header) {
  constexpr uint64_t kKnown = kBackingFile | kJuneBackingIsRaw;
  if ((features & ~kKnown) != 0) {
    return UnknownFeatures(kDraftFeaturesOffset, features & ~kKnown);
  }
  const bool is_raw = (features & kJuneBackingIsRaw) != 0;
  if (header.backing_name_offset != 0 && is_raw) header.backing_format = "raw";
  header.image_format = "raw";
  return CheckNames(header, kJuneFields);
}

absl::Status ParseJuly(const uint8_t* data, uint64_t features, Header& header) {
  constexpr uint64_t kKnown =
      kBackingFile | kJulyImageFile | kDraftAllAllocated;
  if ((features & ~kKnown) != 0) {
    return UnknownFeatures(kDraftFeaturesOffset, features & ~kKnown);
  }
  RETURN_IF_ERROR(CheckFeature(features, kJulyImageFile, "image file",
                               header.image_name_offset,
                               kJulyFields.image_offset));
  header.features = features & kDraftAllAllocated;
  header.compat_features = LoadLittle64(data + 36);
  ASSIGN_OR_RETURN(header.backing_format,
                   ParseFormatName(data + kJulyFields.backing_format,
                                   "backing file format (byte 48)"));
  ASSIGN_OR_RETURN(header.image_format,
                   ParseFormatName(data + kJulyFields.image_format,
                                   "image file format (byte 64)"));
  return CheckNames(header, kJulyFields);
}

uint64_t FeaturesOf(const Header& header) {
  const bool has_backing = header.backing_name_offset != 0;
  uint64_t features = header.features | (has_backing ? kBackingFile : 0);
  if (header.layout == Layout::kJuly2012) return features | kJulyImageFile;
  if (header.backing_format == "raw") features |= kJuneBackingIsRaw;
  return features;
}

}  // namespace

bool HasDraftMagic(absl::Span<const uint8_t> bytes) {
  return bytes.size() >= sizeof(kMagic) &&
         std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) == 0;
}

absl::StatusOr<Header> ParseDraftHeader(absl::Span<const uint8_t> bytes,
                                        uint64_t file_size) {
  if (bytes.size() < kParsedBytes || file_size < kPageBytes) {
    return BadField("the file's size", absl::StrCat(file_size),
                    absl::StrCat("at least ", kPageBytes));
  }
  const uint8_t* const data = bytes.data();
  const uint32_t version = LoadLittle32(data + 8);
  if (version != kVersion) {
    return BadField("version (byte 8)", absl::StrCat(version), "1");
  }
  Header header;
  header.backing_name_offset = LoadLittle32(data + 12);
  header.backing_name_size = LoadLittle32(data + 16);
  header.image_name_offset = LoadLittle32(data + 20);
  header.image_name_size = LoadLittle32(data + 24);
  header.header_size = kPageBytes * kPages;
  ASSIGN_OR_RETURN(header.layout, DecideLayout(data, header));
  const uint64_t features = LoadLittle64(data + kDraftFeaturesOffset);
  RETURN_IF_ERROR(CheckFeature(features, kBackingFile, "backing file",
                               header.backing_name_offset,
                               kJuneFields.backing_offset));
  RETURN_IF_ERROR(header.layout == Layout::kJune2012
                      ? ParseJune(features, header)
                      : ParseJuly(data, features, header));
  return header;
}

std::vector<uint8_t> SerializeDraftHeader(const Header& header) {
  std::vector<uint8_t> bytes(kJulyBytes);
  std::memcpy(bytes.data(), kMagic, sizeof(kMagic));
  StoreLittle32(&bytes[8], kVersion);
  StoreLittle32(&bytes[12], header.backing_name_offset);
  StoreLittle32(&bytes[16], header.backing_name_size);
  StoreLittle32(&bytes[20], header.image_name_offset);
  StoreLittle32(&bytes[24], header.image_name_size);
  StoreLittle64(&bytes[kDraftFeaturesOffset], FeaturesOf(header));
  if (header.layout == Layout::kJune2012) {
    // Where a name stood, the zeroes say that no name does now.
    if (HasNameBelow(header, kJulyBytes)) bytes.resize(kJuneBytes);
    return bytes;
  }
  StoreLittle64(&bytes[36], header.compat_features);
  StoreLittle32(&bytes[kPagesOffset], kPages);
  StoreFormatName(header.backing_format, &bytes[kJulyFields.backing_format]);
  StoreFormatName(header.image_format, &bytes[kJulyFields.image_format]);
  return bytes;
}

}  // namespace flatcow::addcow
