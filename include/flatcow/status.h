// SPDX-License-Identifier: Apache-2.0
//
// Errors: an absl::Status that also carries the errno a kernel wants.
//
//   absl::Status s = flatcow::ErrnoError(ENOSPC, "vm.qed: write at 4096");
//   s.message()               "vm.qed: write at 4096: No space left on device"
//   flatcow::ErrnoOf(s)       ENOSPC
//
// Every message names the file first. Messages about bad input name the field
// or offset, what was found, what was expected and what to do.
#ifndef FLATCOW_STATUS_H_
#define FLATCOW_STATUS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace flatcow {

// A failed system call: `message`, then ": " and the text of `error_number`.
// Precondition: error_number > 0.
absl::Status ErrnoError(int error_number, absl::string_view message);

// An error whose `message` already says everything; ErrnoOf() gives
// `error_number`. Precondition: error_number > 0.
absl::Status MakeError(int error_number, absl::string_view message);

// `status` with `context` and ": " before its message; the errno is kept.
// Returns OK for OK.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

// The errno for the kernel: 0 for OK, the carried one, EIO where there is none.
int ErrnoOf(const absl::Status& status);

}  // namespace flatcow

#endif  // FLATCOW_STATUS_H_
