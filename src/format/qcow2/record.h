// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QCOW2_RECORD_H_
#define FLATCOW_FORMAT_QCOW2_RECORD_H_

#include <optional>

#include "absl/status/status.h"
#include "flatcow/file.h"
#include "flatcow/image.h"
#include "format/qcow2/extensions.h"
#include "format/qcow2/header.h"

namespace flatcow::qcow2 {

// FormatDriver::record. A new backing name is written beside the old one; then
// the header and its extensions change in one write of the first sector, so
// they have to fit into that. The table of feature names, which is for people
// to read, is left out; other extensions stay.
absl::Status Record(File& file, const Header& header,
                    const Extensions& extensions,
                    const std::optional<ImageLink>& backing,
                    const std::optional<ImageLink>& data_file);

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_RECORD_H_
