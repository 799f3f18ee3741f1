// SPDX-License-Identifier: Apache-2.0
//
// Where the writes to ephemeral views go (-o ephemeral).
#ifndef FLATCOW_FUSE_EPHEMERAL_PLACE_H_
#define FLATCOW_FUSE_EPHEMERAL_PLACE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "flatcow/confined_file_system.h"
#include "flatcow/image.h"

namespace flatcow::daemon {

// Thread-safe.
class EphemeralPlace {
 public:
  // `directory` is absolute, or empty: beside each image. It is opened, and a
  // file is made in it, for a moment. Errors: that can't be done.
  static absl::StatusOr<std::unique_ptr<EphemeralPlace>> Open(
      const std::string& directory);

  // The image at `path`, of the format that `options` say, so that what is
  // written to it goes to this place: see OpenEphemeral(). The message names
  // the option where nothing can be made beside the image. `files` outlives the
  // image.
  absl::StatusOr<std::unique_ptr<Image>> OpenImage(
      FileSystem& files, const std::string& path,
      const OpenOptions& options) const;

  // A descriptor of the directory; -1: beside each image.
  int descriptor() const;

 private:
  explicit EphemeralPlace(std::unique_ptr<ConfinedFileSystem> directory)
      : directory_(std::move(directory)) {}

  const std::unique_ptr<ConfinedFileSystem> directory_;  // its first root
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_EPHEMERAL_PLACE_H_
