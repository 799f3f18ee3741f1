// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QCOW2_BITMAP_CLUSTERS_H_
#define FLATCOW_FORMAT_QCOW2_BITMAP_CLUSTERS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "flatcow/file.h"
#include "format/qcow2/header.h"

namespace flatcow::qcow2 {

// Adds the numbers of the clusters that persistent bitmaps take: their
// directory, and the table and bits of each. Without the autoclear bit that
// vouches for them they are lost, and none is added; nor are those behind a
// place where the directory is damaged, or any that are not in the file of
// `file_size` bytes.
absl::Status AddBitmapClusters(const File& file, const Header& header,
                               uint64_t file_size,
                               std::vector<uint64_t>& clusters);

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_BITMAP_CLUSTERS_H_
