// SPDX-License-Identifier: Apache-2.0
//
// Errors that end the tool with an exit code of their own.
#ifndef FLATCOW_TOOL_EXIT_CODE_H_
#define FLATCOW_TOOL_EXIT_CODE_H_

#include "absl/status/status.h"

namespace flatcow::tool {

// `status`, which is not OK, with the exit code that it is to end in.
absl::Status WithExitCode(absl::Status status, int code);

// Return values: what WithExitCode() said; `otherwise` where it said nothing.
int ExitCodeOf(const absl::Status& status, int otherwise);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_EXIT_CODE_H_
