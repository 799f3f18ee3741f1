// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_ADDCOW_CHECK_H_
#define FLATCOW_FORMAT_ADDCOW_CHECK_H_

#include "absl/status/status.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "format/addcow/header.h"

namespace flatcow::addcow {

// Counts the allocated clusters. An add-cow image that opens has nothing that
// can be bad; bits past the end of the disk, which mean nothing, are told as a
// problem that counts neither as corruption nor as leak, and Repair::kAll
// clears them. Precondition: image_file is open.
absl::Status Check(File& file, File& image_file, const Header& header,
                   Repair repair, CheckResult& result);

}  // namespace flatcow::addcow

#endif  // FLATCOW_FORMAT_ADDCOW_CHECK_H_
