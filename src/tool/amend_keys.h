// SPDX-License-Identifier: Apache-2.0
//
// The keys of `amend -o KEY=VALUE,...`, format by format.
#ifndef FLATCOW_TOOL_AMEND_KEYS_H_
#define FLATCOW_TOOL_AMEND_KEYS_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "flatcow/image_ops.h"
#include "key_list.h"

namespace flatcow::tool {

using AmendKey = Key<AmendOptions>;

// Errors: INVALID_ARGUMENT a format that records nothing, or that there is not.
absl::StatusOr<absl::Span<const AmendKey>> AmendKeys(absl::string_view format);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_AMEND_KEYS_H_
