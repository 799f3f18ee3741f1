// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_ADDCOW_UPGRADE_H_
#define FLATCOW_FORMAT_ADDCOW_UPGRADE_H_

#include "absl/status/status.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "format/addcow/header.h"

namespace flatcow::addcow {

// FormatDriver::upgrade; `header` has been read from `file`. Clusters that the
// draft does not hold stay so, also without a backing file: they read as
// zeroes, whatever the image file has there.
absl::Status Upgrade(const File& file, const Header& header,
                     CreateOptions options, File& target);

}  // namespace flatcow::addcow

#endif  // FLATCOW_FORMAT_ADDCOW_UPGRADE_H_
