// SPDX-License-Identifier: Apache-2.0
//
// The keys of what makes an image, format by format.
#ifndef FLATCOW_TOOL_CREATE_KEYS_H_
#define FLATCOW_TOOL_CREATE_KEYS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "flatcow/image_ops.h"
#include "key_list.h"

namespace flatcow::tool {

using CreateKey = Key<CreateOptions>;

// Errors: INVALID_ARGUMENT a format that can't be created; names those that
// can.
absl::StatusOr<absl::Span<const CreateKey>> CreateKeys(
    absl::string_view format);

// StoreKeyList() with the keys of options.format.
absl::Status StoreKeys(absl::string_view list, CreateOptions& options);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_CREATE_KEYS_H_
