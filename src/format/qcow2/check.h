// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QCOW2_CHECK_H_
#define FLATCOW_FORMAT_QCOW2_CHECK_H_

#include "absl/status/status.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "format/qcow2/header.h"

namespace flatcow::qcow2 {

// Checks an image with an external data file: every entry of its tables, and
// the refcounts of its metadata. Wrong refcounts are mended by making them all
// anew; a bad entry is dropped, or, where the data file is the disk, corrected.
// The dirty and corrupt bits go when nothing bad is left. Precondition:
// header.has_data_file().
absl::Status Check(File& file, const Header& header, Repair repair,
                   CheckResult& result);

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_CHECK_H_
