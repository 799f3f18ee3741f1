// SPDX-License-Identifier: Apache-2.0
//
// Looks names up component by component, so that a walk can be stopped before
// it steps into a mount that must not be asked.
//
//   at a root's path?        continue from the root's descriptor
//   on the excluded device?  ELOOP
//   a link?                  its target takes the place of the component;
//                            an absolute target starts again at "/"
//   else                     step into it
//
// None of this asks the file system that lies at a component before its device
// is known: O_PATH opens nothing, and statx answers from what is cached.
#ifndef FLATCOW_IO_PATH_WALK_H_
#define FLATCOW_IO_PATH_WALK_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "io/unique_fd.h"

namespace flatcow {

// A directory that is found by descriptor, whatever is mounted over it.
struct WalkRoot {
  std::string path;  // absolute, resolved
  int descriptor;
};

struct WalkRules {
  absl::Span<const WalkRoot> roots;
  uint64_t excluded_device = 0;  // st_dev; 0 for none
};

// Finds the file that `path` leads to, links followed.
// Return values: a descriptor that names it, O_PATH unless it is a root.
// Errors: those of open(2); ELOOP after 40 links or where the excluded device
// begins.
absl::StatusOr<UniqueFd> WalkPath(absl::string_view path,
                                  const WalkRules& rules);

// Is `path` this directory, or does it lie below it? Both must be absolute and
// resolved.
bool IsInside(absl::string_view path, absl::string_view directory);

}  // namespace flatcow

#endif  // FLATCOW_IO_PATH_WALK_H_
