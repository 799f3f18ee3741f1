// SPDX-License-Identifier: Apache-2.0
//
// The operands and directories of the command line, looked up while the
// working directory is still the caller's.
#ifndef FLATCOW_FUSE_PLACES_H_
#define FLATCOW_FUSE_PLACES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "log.h"
#include "options.h"

namespace flatcow::daemon {

struct Places {
  // SOURCE as it was given, made absolute: what mount tables show.
  std::string source;
  // The others are absolute and resolved.
  // Where files may be opened: first the directory of SOURCE, then those of
  // allow=.
  std::vector<std::string> roots;
  std::string only_name;  // SOURCE is this file of the first root; or empty
  std::string mountpoint;
  std::string ephemeral;  // the directory of ephemeral=; or empty
};

inline constexpr int kExitUsage = 1;
inline constexpr int kExitSystem = 2;
inline constexpr int kExitMount = 32;

// Where daemons of ours that died have left mounts on the mount point, unmounts
// them, with a line in the log for each: who starts a daemon again, be it a
// person or a service manager, must not find the place blocked for ever.
// Others' mounts are not touched. On failure sets `exit_code`.
absl::StatusOr<Places> FindPlaces(const Options& options, Log& log,
                                  int& exit_code);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_PLACES_H_
