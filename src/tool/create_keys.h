// SPDX-License-Identifier: Apache-2.0
//
// The keys of `create -o KEY=VALUE,...`, format by format.
#ifndef FLATCOW_TOOL_CREATE_KEYS_H_
#define FLATCOW_TOOL_CREATE_KEYS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "flatcow/image_ops.h"

namespace flatcow::tool {

struct CreateKey {
  absl::string_view name;
  absl::string_view argument;  // what the help calls its value
  absl::string_view help;
  // Stores a value. Errors: INVALID_ARGUMENT or OUT_OF_RANGE.
  absl::Status (*store)(absl::string_view value, CreateOptions& options);
};

// Errors: INVALID_ARGUMENT a format that can't be created; names those that
// can.
absl::StatusOr<absl::Span<const CreateKey>> CreateKeys(
    absl::string_view format);

// Stores every KEY=VALUE of `list` in `options`; a later one replaces an
// earlier. A comma inside a value is written twice, as for qemu-img.
// Errors: INVALID_ARGUMENT not such a list, a key that options.format doesn't
// have (names those it has), or a bad value.
absl::Status StoreKeys(absl::string_view list, CreateOptions& options);

// The answer to `-o help`.
std::string CreateKeysHelp(absl::string_view format,
                           absl::Span<const CreateKey> keys);

// `value` as it must be written inside a list.
std::string EscapeCommas(absl::string_view value);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_CREATE_KEYS_H_
