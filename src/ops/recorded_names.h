// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_OPS_RECORDED_NAMES_H_
#define FLATCOW_OPS_RECORDED_NAMES_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/image_ops.h"
#include "format/format_driver.h"

namespace flatcow {

// What an image is to name after `change`. Errors: as RecordNames().
struct Names {
  std::optional<ImageLink> backing;
  std::optional<ImageLink> data_file;
};
absl::StatusOr<Names> ChangedNames(const File& file, const FormatDriver& driver,
                                   const FormatHeader& header,
                                   const AmendOptions& change);

// Changes what the image in `file` names; the format is driver's. Errors:
// EINVAL the format has nothing of the kind, or what is left makes no sense.
absl::Status RecordNames(File& file, const FormatDriver& driver,
                         const AmendOptions& change);

// The format to record for a backing file that was opened without one being
// given; adds a warning where it has no magic.
std::string FoundBackingFormat(const std::string& name, const ImageInfo& info,
                               std::vector<std::string>& warnings);

}  // namespace flatcow

#endif  // FLATCOW_OPS_RECORDED_NAMES_H_
