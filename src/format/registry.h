// SPDX-License-Identifier: Apache-2.0
//
// The only list of formats.
#ifndef FLATCOW_FORMAT_REGISTRY_H_
#define FLATCOW_FORMAT_REGISTRY_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "flatcow/file.h"
#include "format/format_driver.h"

namespace flatcow {

absl::Span<const FormatDriver* const> AllFormats();

// Errors: ENOTSUP, for a name that is known (the message says so) but not
// supported, and for any other; the message lists the formats.
absl::StatusOr<const FormatDriver*> FormatByName(absl::string_view name);

// The format whose magic the file has, raw when it has none.
// Errors: EIO; ENOTSUP for the magic of a format that is not supported.
absl::StatusOr<const FormatDriver*> FormatByMagic(const File& file);

// The named format, or by magic when `name` is empty. Errors name the file.
absl::StatusOr<const FormatDriver*> FormatOf(const File& file,
                                             absl::string_view name);

extern const FormatDriver kRawFormat;
extern const FormatDriver kQedFormat;
extern const FormatDriver kAddCowFormat;
extern const FormatDriver kQcow2Format;

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_REGISTRY_H_
