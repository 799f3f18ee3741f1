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
};

inline constexpr int kExitUsage = 1;
inline constexpr int kExitSystem = 2;
inline constexpr int kExitMount = 32;

// On failure sets `exit_code`.
absl::StatusOr<Places> FindPlaces(const Options& options, int& exit_code);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_PLACES_H_
