// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QCOW2_CREATE_H_
#define FLATCOW_FORMAT_QCOW2_CREATE_H_

#include "absl/status/status.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "format/format_driver.h"

namespace flatcow::qcow2 {

// FormatDriver::check_create, create and shape, of images of version 3 with an
// external data file. With data-file-raw every cluster is allocated from the
// start.
absl::Status CheckCreate(CreateOptions& options);
absl::Status Create(File& file, File* data_file, const CreateOptions& options);
DiskShape Shape(const CreateOptions& options);

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_CREATE_H_
