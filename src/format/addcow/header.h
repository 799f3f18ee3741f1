// SPDX-License-Identifier: Apache-2.0
//
// The add-cow header, little-endian: fields, then the two names, up to
// HEADER_SIZE, where the COW bitmap begins. flatcow-formats(5) has the layouts:
// the final one ("ACOW") and two drafts of it (draft_header.h).
#ifndef FLATCOW_FORMAT_ADDCOW_HEADER_H_
#define FLATCOW_FORMAT_ADDCOW_HEADER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "flatcow/extent.h"

namespace flatcow::addcow {

inline constexpr size_t kHeaderBytes = 76;  // of the final layout
// What ParseHeader() looks at, whatever the layout.
inline constexpr size_t kParsedBytes = 80;
inline constexpr uint32_t kMinClusterBits = 9;
inline constexpr uint32_t kMaxClusterBits = 26;
inline constexpr uint32_t kMaxHeaderSize = 64 << 20;
inline constexpr uint32_t kMaxNameBytes = 4095;
inline constexpr size_t kFormatNameBytes = 16;
inline constexpr uint64_t kCompatAllAllocated = 1;
inline constexpr uint64_t kCompatOffset = 32;

enum class Layout : uint8_t { kFinal, kJune2012, kJuly2012 };

struct Header {
  Layout layout = Layout::kFinal;
  uint32_t backing_name_offset = 0;
  uint32_t backing_name_size = 0;
  uint32_t image_name_offset = 0;
  uint32_t image_name_size = 0;
  uint32_t cluster_bits = 16;
  uint64_t features = 0;  // of a draft: those that no other field here tells
  uint64_t compat_features = 0;
  uint32_t header_size = 65536;  // bytes; the bitmap starts here
  // Empty: no backing file, or, June 2012, to be found by magic.
  std::string backing_format;
  std::string image_format;

  uint64_t cluster_size() const { return uint64_t{1} << cluster_bits; }
  bool all_allocated() const;
  // Precondition: not of June 2012, which can't say so.
  void set_all_allocated(bool value);

  friend bool operator==(const Header&, const Header&) = default;
};

// Of any layout.
bool HasMagic(absl::Span<const uint8_t> bytes);

// Parses and checks every field. Errors: EINVAL, or ENOTSUP for an unknown
// feature; the message names field, value and what was expected.
absl::StatusOr<Header> ParseHeader(absl::Span<const uint8_t> bytes,
                                   uint64_t file_size);

// The start of the file, within one sector: everything but the names, which
// are not overwritten. Precondition: format names of at most 16 bytes.
std::vector<uint8_t> SerializeHeader(const Header& header);

// Where names may be written.
Extent NameArea(const Header& header);

// The one word of the header that changes when it begins to say ALL_ALLOCATED.
struct FlagWord {
  uint64_t offset = 0;
  uint64_t value = 0;
};
// nullopt: the layout can't say so.
std::optional<FlagWord> AllAllocatedWord(const Header& header);

}  // namespace flatcow::addcow

#endif  // FLATCOW_FORMAT_ADDCOW_HEADER_H_
