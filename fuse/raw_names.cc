// SPDX-License-Identifier: Apache-2.0
#include "raw_names.h"

#include <fnmatch.h>

#include <algorithm>

namespace flatcow::daemon {

bool RawNames::Matches(const std::string& path) const {
  if (globs_.empty()) return false;
  const size_t slash = path.rfind('/');
  const char* const name =
      path.c_str() + (slash == std::string::npos ? 0 : slash + 1);
  return std::any_of(globs_.begin(), globs_.end(),
                     [&path, name](const std::string& glob) {
                       const bool whole = glob.find('/') != std::string::npos;
                       return fnmatch(glob.c_str(), whole ? path.c_str() : name,
                                      FNM_PERIOD | FNM_PATHNAME) == 0;
                     });
}

}  // namespace flatcow::daemon
