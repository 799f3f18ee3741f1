// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QED_CREATE_H_
#define FLATCOW_FORMAT_QED_CREATE_H_

#include "absl/status/status.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"

namespace flatcow::qed {

// FormatDriver::check_create and create. Tables of one cluster, and geometries
// whose largest size wraps in 64 bits, are refused: QEMU can't open them.
absl::Status CheckCreate(CreateOptions& options);
absl::Status Create(File& file, File* data_file, const CreateOptions& options);

}  // namespace flatcow::qed

#endif  // FLATCOW_FORMAT_QED_CREATE_H_
