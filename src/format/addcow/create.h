// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_ADDCOW_CREATE_H_
#define FLATCOW_FORMAT_ADDCOW_CREATE_H_

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"

namespace flatcow::addcow {

// Of a new image, bytes.
constexpr uint32_t HeaderSize(uint32_t cluster_size) {
  return std::max(uint32_t{4096}, cluster_size);
}

// FormatDriver::check_create and create. What is written keeps the stricter
// rules of the format's last public implementation: HEADER_SIZE is the larger
// of 4096 and the cluster size, the backing name stands at 76 and the image
// name right behind it, format names are shorter than 16 bytes, and an image
// without a backing file is ALL_ALLOCATED.
absl::Status CheckCreate(CreateOptions& options);
absl::Status Create(File& file, File* data_file, const CreateOptions& options);

// Writes the header and the names, durably, and makes `file` as long as it must
// be. `options` as CheckCreate() leaves them.
absl::Status WriteNew(File& file, const CreateOptions& options,
                      bool all_allocated);

}  // namespace flatcow::addcow

#endif  // FLATCOW_FORMAT_ADDCOW_CREATE_H_
