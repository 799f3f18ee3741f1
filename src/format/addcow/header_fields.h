// SPDX-License-Identifier: Apache-2.0
//
// What the layouts of the add-cow header have in common: names of files and of
// formats.
#ifndef FLATCOW_FORMAT_ADDCOW_HEADER_FIELDS_H_
#define FLATCOW_FORMAT_ADDCOW_HEADER_FIELDS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "format/addcow/header.h"

namespace flatcow::addcow {

// EINVAL: "add-cow header: FIELD is VALUE, expected EXPECTED; ...".
absl::Status BadField(absl::string_view field, absl::string_view value,
                      absl::string_view expected);

// ENOTSUP. `bits` are those of the features at byte `offset` that are unknown.
absl::Status UnknownFeatures(uint64_t offset, uint64_t bits);

// The bytes up to the zero padding. Errors: a byte behind the padding, or one
// that is not ASCII text.
absl::StatusOr<std::string> ParseFormatName(const uint8_t* bytes,
                                            absl::string_view field);

void StoreFormatName(const std::string& name, uint8_t* bytes);

// Where a layout has its fields, and where its names may stand.
struct NameFields {
  uint32_t backing_offset;
  uint32_t image_offset;    // the size is behind each
  uint32_t backing_format;  // 0: the layout has none
  uint32_t image_format;
  uint32_t first;  // a name begins from here
  uint32_t last;   // to here
};

// Are the names of the header, and the formats recorded with them, as they may
// be?
absl::Status CheckNames(const Header& header, const NameFields& fields);

}  // namespace flatcow::addcow

#endif  // FLATCOW_FORMAT_ADDCOW_HEADER_FIELDS_H_
