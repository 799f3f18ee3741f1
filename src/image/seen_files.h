// SPDX-License-Identifier: Apache-2.0
//
// The files of a chain while it is opened, so that none stands where it must
// not. Images have backing files, and image files that are images with backing
// files, so a chain is a tree.
#ifndef FLATCOW_IMAGE_SEEN_FILES_H_
#define FLATCOW_IMAGE_SEEN_FILES_H_

#include <deque>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "flatcow/file.h"

namespace flatcow {

class SeenFiles {
 public:
  // Where an image stands.
  struct Place {
    const Place* above = nullptr;  // the image that names it; null: the first
    bool written = false;          // when the first one is opened for writing
  };
  enum class Part {
    kImage,
    kData,  // a data file that is no image
  };

  // A place for an image that the one at `above` names. It stays where it is.
  const Place* Add(const Place* above, bool written);

  // Notes the file at `path`, which is a part of the image at `place`.
  // Errors: ELOOP: it must not stand there, or there are too many files.
  absl::Status Remember(const std::string& path, FileId id, const Place* place,
                        Part part);

 private:
  struct Seen {
    FileId id;
    const Place* place;
    Part part;
  };

  std::deque<Place> places_;
  std::vector<Seen> seen_;
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_SEEN_FILES_H_
