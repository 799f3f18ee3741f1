// SPDX-License-Identifier: Apache-2.0
#include "format/header_room.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "flatcow/status.h"

namespace flatcow {

void HeaderRoom::Take(Extent extent) {
  const auto behind = std::upper_bound(
      taken_.begin(), taken_.end(), extent,
      [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
  taken_.insert(behind, extent);
}

absl::StatusOr<uint32_t> HeaderRoom::Place(File& file,
                                           const std::string& name) {
  uint64_t at = area_.offset;
  for (const Extent& extent : taken_) {
    if (extent.end() <= at) continue;
    if (extent.offset >= at + name.size()) break;
    at = extent.end();
  }
  if (at + name.size() > area_.end()) {
    return MakeError(
        ENAMETOOLONG,
        absl::StrCat(file.path(), ": the header has no room for a name of ",
                     name.size(), " bytes beside the one it replaces"));
  }
  std::string bytes = name;
  const iovec piece{bytes.data(), bytes.size()};
  RETURN_IF_ERROR(file.Write(at, absl::MakeConstSpan(&piece, 1)));
  Take({at, name.size()});
  return static_cast<uint32_t>(at);
}

}  // namespace flatcow
