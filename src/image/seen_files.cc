// SPDX-License-Identifier: Apache-2.0
#include "image/seen_files.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "flatcow/status.h"
#include "image/chain.h"

namespace flatcow {
namespace {

using Place = SeenFiles::Place;

bool IsAbove(const Place* upper, const Place* place) {
  while (place != nullptr && place != upper) place = place->above;
  return place != nullptr;
}

// One image, an image and what it names, or two that one image names.
bool AreNeighbours(const Place* seen, const Place* place) {
  return seen == place || seen == place->above || seen->above == place->above;
}

}  // namespace

const Place* SeenFiles::Add(const Place* above, bool written) {
  places_.push_back({.above = above, .written = written});
  return &places_.back();
}

// Files are compared by identity: a cycle may lead through links of any kind.
absl::Status SeenFiles::Remember(const std::string& path, FileId id,
                                 const Place* place, Part part) {
  if (seen_.size() == kMaxChainFiles) {
    return MakeError(ELOOP, absl::StrCat(path, ": the chain has more than ",
                                         kMaxChainFiles, " files"));
  }
  for (const Seen& seen : seen_) {
    if (seen.id != id) continue;
    if (part == Part::kImage && seen.part == Part::kImage &&
        IsAbove(seen.place, place)) {
      return MakeError(ELOOP, absl::StrCat(path,
                                           ": stands twice in the chain of "
                                           "backing files, which is a cycle"));
    }
    // Its writes would change what it reads from below.
    const bool written = seen.place->written || place->written;
    if (written || AreNeighbours(seen.place, place)) {
      return MakeError(ELOOP, absl::StrCat(path,
                                           ": is both the image or image file "
                                           "of an overlay and a file that it "
                                           "is based on; they must be "
                                           "different files"));
    }
  }
  seen_.push_back({id, place, part});
  return absl::OkStatus();
}

}  // namespace flatcow
