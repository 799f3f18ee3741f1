// SPDX-License-Identifier: Apache-2.0
//
// Writing to a disk without changing its image.
//
//   auto image = flatcow::OpenEphemeral(
//       files, "/srv/golden.qcow2", {.format = "qcow2"},
//       [&files] { return files.CreateUnnamed("/var/tmp"); });
//   if (!image.ok()) return image.status();
//   (*image)->MakeWritable();
//   (*image)->Write(0, bytes);  // gone with *image
//
// What is opened is an add-cow image like any other, based on the image that
// was asked for. Its two files have no names.
#ifndef FLATCOW_EPHEMERAL_H_
#define FLATCOW_EPHEMERAL_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "flatcow/file.h"
#include "flatcow/image.h"

namespace flatcow {

// Returns a new, empty file that has no name, as FileSystem::CreateUnnamed()
// does. Called from any thread.
using UnnamedFileMaker = std::function<absl::StatusOr<std::unique_ptr<File>>()>;

// Opens the image at `path`, of the format that `options` say, in such a way
// that it is only read. Two files are made when the image first becomes
// writable, by MakeWritable() or here; an error of `make_file` is what that
// answers. Until then nothing is made or written.
//
// The image is locked as a backing file is: others may read it, and base
// overlays on it, while this is open, and nobody may write to it. Of Flush()
// nothing becomes durable; it fails when the host has lost what was written.
//
// ChainPaths() and WrittenPaths() begin with two names that are no paths: they
// have no slash. Errors: as OpenImage().
absl::StatusOr<std::unique_ptr<Image>> OpenEphemeral(
    FileSystem& file_system, const std::string& path,
    const OpenOptions& options, UnnamedFileMaker make_file);

}  // namespace flatcow

#endif  // FLATCOW_EPHEMERAL_H_
