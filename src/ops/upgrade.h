// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_OPS_UPGRADE_H_
#define FLATCOW_OPS_UPGRADE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "flatcow/file.h"
#include "format/format_driver.h"
#include "ops/recorded_names.h"

namespace flatcow {

// Puts an image of the newest layout, with these names, in the place of the one
// in `file`, which the caller has locked and whose layout is an older one.
absl::Status UpgradeImage(FileSystem& file_system, const File& file,
                          const FormatDriver& driver, Names names,
                          std::vector<std::string>& warnings);

}  // namespace flatcow

#endif  // FLATCOW_OPS_UPGRADE_H_
