// SPDX-License-Identifier: Apache-2.0
//
// The names below SOURCE, seen from a directory descriptor.
//
// Nothing here resolves a path of several components in one system call: each
// directory is entered through an O_PATH descriptor whose device is looked at
// first, so that neither a link nor a mount in the way can lead into the
// daemon's own mount, where it would wait for itself.
#ifndef FLATCOW_FUSE_SOURCE_TREE_H_
#define FLATCOW_FUSE_SOURCE_TREE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/file.h"
#include "unique_fd.h"

namespace flatcow::daemon {

class SourceTree {
 public:
  // A name and its own attributes: a link is not followed.
  struct Entry {
    std::string path;  // relative to the root; empty for the root itself
    FileStat stat;
  };

  struct Listing {
    std::vector<Entry> directories;   // those that were read
    std::vector<std::string> unread;  // those that `known` answered for
    std::vector<Entry> files;         // regular files and symbolic links
    std::vector<std::string> same;    // files that `is_same` answered for
    // Directories and names that could not be looked at, by path.
    std::vector<absl::Status> problems;
  };

  // `root` is a directory descriptor that outlives this. If `only_name` is not
  // empty, the tree holds that one name of the root and nothing else.
  SourceTree(int root, std::string only_name);

  // From now on no walk enters the file system with this st_dev.
  void ExcludeDevice(uint64_t device) { excluded_device_.store(device); }

  // Of a directory whose names are known to be the same as before: its
  // sub-directories. Otherwise nothing.
  using Known = std::function<std::optional<std::vector<std::string>>(
      const Entry& directory)>;

  // Is the file at this path known to be still the one with this inode number?
  using IsSame = std::function<bool(const std::string& path, uint64_t inode)>;

  // Called with each directory before it is read, open as `descriptor`.
  using WillRead = std::function<void(const std::string& path, int descriptor)>;
  // Call it before the first List(). Nobody is told where changes may be made
  // that this host does not see.
  void SetWillRead(WillRead will_read) {
    if (!remote_) will_read_ = std::move(will_read);
  }

  // Everything in the directory at `path` and below it. The sub-directories
  // that `known` answers for are not read, but those in them are visited; the
  // files that `is_same` (may be null) answers for are not looked at. One
  // descriptor per level is open meanwhile. Links, FIFOs, sockets and devices
  // are never opened or followed.
  // Errors: `path` itself can't be read.
  absl::StatusOr<Listing> List(const std::string& path, const Known& known,
                               const IsSame& is_same) const;

  // The attributes of one name. Errors: ENOENT no such name, ENOTDIR or ELOOP
  // a component is not a directory or is excluded.
  absl::StatusOr<FileStat> Stat(const std::string& path) const;

 private:
  class Walk;

  // A descriptor for the directory that holds the last component of `path`,
  // owned by `owner` if it is not the root's; `name` becomes that component.
  absl::StatusOr<int> EnterParent(const std::string& path, UniqueFd& owner,
                                  std::string& name) const;
  absl::StatusOr<FileStat> StatAt(int directory, const char* name,
                                  const std::string& path) const;

  const int root_;
  const std::string only_name_;
  const bool remote_;
  WillRead will_read_;
  std::atomic<uint64_t> excluded_device_{0};
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_SOURCE_TREE_H_
