// SPDX-License-Identifier: Apache-2.0
//
// Which files are not views because an image uses them as raw bytes.
#ifndef FLATCOW_FUSE_HIDDEN_FILES_H_
#define FLATCOW_FUSE_HIDDEN_FILES_H_

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "flatcow/file.h"

namespace flatcow::daemon {

// What looks like an image, and the files it names as raw: its data file, and
// its backing file when that is recorded as raw.
using RawFilesOf = absl::flat_hash_map<FileId, std::vector<FileId>>;

// Returns the files that images name as raw. A guest can write the header of
// an image at the start of its raw disk, and that header can name anything: a
// file that is hidden is no image, so what it names does not count. Images
// that name each other in a circle are hidden, all of them; a file that names
// itself only is not.
absl::flat_hash_set<FileId> HiddenFiles(const RawFilesOf& raw_files_of);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_HIDDEN_FILES_H_
