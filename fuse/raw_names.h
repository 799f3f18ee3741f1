// SPDX-License-Identifier: Apache-2.0
//
// Which files of SOURCE are disks because the user says so (-o raw=GLOB): raw
// files have nothing that they could be known by.
#ifndef FLATCOW_FUSE_RAW_NAMES_H_
#define FLATCOW_FUSE_RAW_NAMES_H_

#include <string>
#include <utility>
#include <vector>

namespace flatcow::daemon {

// Not changed once made.
class RawNames {
 public:
  // No file.
  RawNames() = default;

  // The files that one of `globs` matches, as a shell would match them: a
  // leading dot is matched by a dot only. A glob with a slash is for the path
  // relative to SOURCE, whose slashes only slashes match; another one is for
  // the file's name in any folder.
  // `others_too`: a file that no glob matches, and that has no magic, is one.
  explicit RawNames(std::vector<std::string> globs, bool others_too = false)
      : globs_(std::move(globs)), others_too_(others_too) {}

  // `path` is relative to SOURCE. What is matched is raw whatever its bytes
  // are.
  bool Matches(const std::string& path) const;

  bool others_too() const { return others_too_; }

 private:
  std::vector<std::string> globs_;
  bool others_too_ = false;
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_RAW_NAMES_H_
