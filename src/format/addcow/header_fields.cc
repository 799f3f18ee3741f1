// SPDX-License-Identifier: Apache-2.0
#include "format/addcow/header_fields.h"

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "flatcow/status.h"

namespace flatcow::addcow {
namespace {

// `name` is at byte `byte` of the header.
absl::Status CheckName(absl::string_view name, uint64_t byte, uint32_t offset,
                       uint32_t size, const NameFields& fields,
                       uint32_t header_size) {
  if (size == 0 || size > kMaxNameBytes) {
    return BadField(absl::StrCat(name, " (byte ", byte, ") size"),
                    absl::StrCat(size), "1 to 4095");
  }
  if (offset < fields.first || offset > fields.last ||
      uint64_t{offset} + size > header_size) {
    return BadField(
        absl::StrCat(name, " (byte ", byte, ") offset"), absl::StrCat(offset),
        absl::StrCat("at least ", fields.first, ", the name of ", size,
                     " bytes ending by HEADER_SIZE ", header_size));
  }
  return absl::OkStatus();
}

absl::Status CheckFormats(const Header& header, const NameFields& fields) {
  const bool has_backing = header.backing_name_offset != 0;
  if (header.image_format.empty()) {
    return BadField(
        absl::StrCat("image file format (byte ", fields.image_format, ")"),
        "empty", "a format name");
  }
  if (has_backing == header.backing_format.empty()) {
    return BadField(
        absl::StrCat("backing file format (byte ", fields.backing_format, ")"),
        has_backing ? "empty" : header.backing_format,
        "empty if and only if there is no backing file");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status BadField(absl::string_view field, absl::string_view value,
                      absl::string_view expected) {
  return MakeError(
      EINVAL, absl::StrCat("add-cow header: ", field, " is ", value,
                           ", expected ", expected, "; the image is damaged"));
}

absl::Status UnknownFeatures(uint64_t offset, uint64_t bits) {
  return MakeError(
      ENOTSUP,
      absl::StrFormat("add-cow header: features (byte %d) has unknown bits "
                      "0x%x set, expected none; a newer program made the image",
                      offset, bits));
}

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

void StoreFormatName(const std::string& name, uint8_t* bytes) {
  std::copy(name.begin(), name.end(), bytes);
}

absl::Status CheckNames(const Header& header, const NameFields& fields) {
  RETURN_IF_ERROR(CheckName("image file name", fields.image_offset,
                            header.image_name_offset, header.image_name_size,
                            fields, header.header_size));
  const bool has_backing = header.backing_name_offset != 0;
  if (has_backing != (header.backing_name_size != 0)) {
    return BadField(absl::StrCat("backing file name size (byte ",
                                 fields.backing_offset + 4, ")"),
                    absl::StrCat(header.backing_name_size),
                    absl::StrCat("0 if and only if the offset at byte ",
                                 fields.backing_offset, " is 0"));
  }
  if (fields.backing_format != 0) {
    RETURN_IF_ERROR(CheckFormats(header, fields));
  }
  if (!has_backing) return absl::OkStatus();
  return CheckName("backing file name", fields.backing_offset,
                   header.backing_name_offset, header.backing_name_size, fields,
                   header.header_size);
}

}  // namespace flatcow::addcow
