// SPDX-License-Identifier: Apache-2.0
#include "format/addcow/header.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/addcow/draft_header.h"
#include "format/addcow/header_fields.h"

namespace flatcow::addcow {
namespace {

constexpr uint8_t kMagic[4] = {'A', 'C', 'O', 'W'};
constexpr size_t kFeaturesOffset = 24;
constexpr size_t kBackingFormatOffset = 44;
constexpr size_t kImageFormatOffset = 60;

constexpr NameFields kFields = {.backing_offset = 4,
                                .image_offset = 12,
                                .backing_format = kBackingFormatOffset,
                                .image_format = kImageFormatOffset,
                                .first = kHeaderBytes,
                                .last = kMaxHeaderSize};

bool HasFinalMagic(absl::Span<const uint8_t> bytes) {
  return bytes.size() >= sizeof(kMagic) &&
         std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) == 0;
}

}  // namespace

bool Header::all_allocated() const {
  switch (layout) {
    case Layout::kFinal:
      return (compat_features & kCompatAllAllocated) != 0;
    case Layout::kJune2012:
      return false;
    case Layout::kJuly2012:
      return (features & kDraftAllAllocated) != 0;
  }
  return false;
}

void Header::set_all_allocated(bool value) {
  const bool is_final = layout == Layout::kFinal;
  uint64_t& word = is_final ? compat_features : features;
  const uint64_t bit = is_final ? kCompatAllAllocated : kDraftAllAllocated;
  word = value ? word | bit : word & ~bit;
}

bool HasMagic(absl::Span<const uint8_t> bytes) {
  return HasFinalMagic(bytes) || HasDraftMagic(bytes);
}

absl::StatusOr<Header> ParseHeader(absl::Span<const uint8_t> bytes,
                                   uint64_t file_size) {
  if (HasDraftMagic(bytes)) return ParseDraftHeader(bytes, file_size);
  if (bytes.size() < kHeaderBytes) {
    return MakeError(EINVAL,
                     absl::StrCat("add-cow header: the file ends after ",
                                  bytes.size(), " bytes, expected at least ",
                                  kHeaderBytes, "; the image is damaged"));
  }
  if (!HasFinalMagic(bytes)) {
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
  header.features = LoadLittle64(data + kFeaturesOffset);
  header.compat_features = LoadLittle64(data + kCompatOffset);
  header.header_size = LoadLittle32(data + 40);

  if (header.features != 0) {
    return UnknownFeatures(kFeaturesOffset, header.features);
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
  ASSIGN_OR_RETURN(header.backing_format,
                   ParseFormatName(data + kBackingFormatOffset,
                                   "backing file format (byte 44)"));
  ASSIGN_OR_RETURN(header.image_format,
                   ParseFormatName(data + kImageFormatOffset,
                                   "image file format (byte 60)"));
  RETURN_IF_ERROR(CheckNames(header, kFields));
  return header;
}

std::vector<uint8_t> SerializeHeader(const Header& header) {
  if (header.layout != Layout::kFinal) return SerializeDraftHeader(header);
  std::vector<uint8_t> bytes(kHeaderBytes);
  std::memcpy(bytes.data(), kMagic, sizeof(kMagic));
  StoreLittle32(&bytes[4], header.backing_name_offset);
  StoreLittle32(&bytes[8], header.backing_name_size);
  StoreLittle32(&bytes[12], header.image_name_offset);
  StoreLittle32(&bytes[16], header.image_name_size);
  StoreLittle32(&bytes[20], header.cluster_bits);
  StoreLittle64(&bytes[kFeaturesOffset], header.features);
  StoreLittle64(&bytes[kCompatOffset], header.compat_features);
  StoreLittle32(&bytes[40], header.header_size);
  StoreFormatName(header.backing_format, &bytes[kBackingFormatOffset]);
  StoreFormatName(header.image_format, &bytes[kImageFormatOffset]);
  return bytes;
}

Extent NameArea(const Header& header) {
  if (header.layout != Layout::kFinal) return kDraftNameArea;
  return {kHeaderBytes, header.header_size - kHeaderBytes};
}

std::optional<FlagWord> AllAllocatedWord(const Header& header) {
  if (header.layout == Layout::kJune2012) return std::nullopt;
  Header marked = header;
  marked.set_all_allocated(true);
  const uint64_t offset =
      header.layout == Layout::kFinal ? kCompatOffset : kDraftFeaturesOffset;
  return FlagWord{offset, LoadLittle64(&SerializeHeader(marked)[offset])};
}

}  // namespace flatcow::addcow
