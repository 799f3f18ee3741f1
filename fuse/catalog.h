// SPDX-License-Identifier: Apache-2.0
//
// Names and images: which folders and views the mount shows, and which image
// each view is.
//
//   Catalog catalog(files, "", log);
//   auto view = catalog.Lookup(kRootNode, "vm1.qed.raw");
//   OpenImage(files, catalog.AbsolutePath(view->path), ...);
//   catalog.Forget(view->id, 1);
//
// Folders are read only when they must be: for a listing, and when a name is
// asked for that is in SOURCE but not yet known. What is known is verified with
// one look at the file. Nothing stays open.
#ifndef FLATCOW_FUSE_CATALOG_H_
#define FLATCOW_FUSE_CATALOG_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/confined_file_system.h"
#include "image_facts.h"
#include "log.h"
#include "mutex.h"
#include "raw_names.h"
#include "source_index.h"
#include "source_tree.h"
#include "source_watch.h"

namespace flatcow::daemon {

using NodeId = uint64_t;
inline constexpr NodeId kRootNode = 1;

// A folder or a view, as it was when it was last looked at.
struct NodeInfo {
  NodeId id = 0;
  bool is_directory = false;
  uint64_t inode = 0;     // st_ino: the same for the same file, always
  std::string path;       // of the folder or image, relative to SOURCE
  std::string view_name;  // the path in the mount
  FileStat stat;          // of the folder or image file
  uint32_t links = 0;     // names that show it; 0: it is gone
  // What happens to its name and file is told to the listener of Watch().
  bool watched = false;

  // Of a view only.
  int error = 0;  // why the image can't be used, or 0
  std::shared_ptr<const ImageFacts> facts = nullptr;  // never null
  uint64_t virtual_size = 0;     // bytes; 0 when it can't be used
  uint64_t allocated_bytes = 0;  // on the host, of the whole chain
  int64_t mtime_ns = 0;          // of the image or its data file
};

struct DirectoryEntry {
  std::string name;
  uint64_t inode = 0;
  bool is_directory = false;
};

// Thread-safe. A node lives as long as a name shows it, or as there are more
// Lookup()s of it than Forget()s.
class Catalog {
 public:
  // SOURCE is root 0 of `files`; if `only_name` is not empty, only that file of
  // it. `files` and `log` outlive this.
  Catalog(ConfinedFileSystem& files, std::string only_name, Log& log,
          RawNames raw_names = RawNames());

  // From now on nothing enters the file system with this st_dev.
  void ExcludeDevice(uint64_t device);

  // Something on the host that the mount shows has changed.
  struct Change {
    NodeId parent = 0;
    std::string name;      // in the mount
    NodeId node = 0;       // what it is known to be; 0: nothing
    bool of_name = false;  // it came or went, or is another file now
  };
  // Until StopWatching(), a thread calls `changed` soon after each change in
  // the folders that are read from now on, as far as inotify(7) tells.
  void StartWatching(std::function<void(const Change&)> changed);
  void StopWatching() { watch_.Stop(); }

  // Errors: ENOENT, ENOTDIR, or SOURCE can't be read.
  absl::StatusOr<NodeInfo> Lookup(NodeId parent, const std::string& name);
  void Forget(NodeId node, uint64_t lookups);

  // A node whose file is gone is as it was, with `links` 0. Errors: ESTALE
  // unknown node.
  absl::StatusOr<NodeInfo> Get(NodeId node);

  // The names in a folder, sorted; `.` and `..` are not among them. Errors:
  // ENOTDIR, ESTALE, or SOURCE can't be read.
  absl::StatusOr<std::vector<DirectoryEntry>> List(NodeId directory);

  // The files that an image with these facts is based on, the nearest first, as
  // far as they can be looked at.
  std::vector<std::string> BackingPaths(const ImageFacts& facts);

  // While a view has users its image is not inspected: they know better.
  void AddUser(NodeId view);
  void RemoveUser(NodeId view);

  // Has the view no name any more, as far as is known, nor the kernel as a
  // node?
  bool IsGone(NodeId view);

  std::string AbsolutePath(const std::string& path) const;

 private:
  struct Node {
    NodeId id = 0;
    bool is_directory = false;
    bool present = true;  // a name shows it
    uint64_t lookups = 0;
    std::string path;       // of an image: the name it was last found by
    std::string view_name;  // the same for the name in the mount
    FileStat stat;
    uint32_t links = 0;

    // Of a folder only.
    std::map<std::string, NodeId> children;

    // Of a view only.
    uint64_t users = 0;
    Look look;
    uint64_t below_allocated = 0;
    int below_error = 0;
  };

  // What is needed of a node to verify it without the lock.
  struct Reference {
    NodeId id = 0;
    bool is_directory = false;
    std::string path;
    std::string view_name;
    FileId file;
    std::shared_ptr<const ImageFacts> facts_in_use;  // null: no users
    bool is_raw = false;                             // whatever its bytes are
  };

  Reference ReferenceTo(const Node& node) const;
  // Looks at a folder of SOURCE again.
  absl::Status Refresh(NodeId directory, SourceIndex::Depth depth);
  bool IsShown(const std::string& path);
  void Apply(const std::vector<FoundImage>& images)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(scan_mutex_, mutex_);
  void ShowDirectory(const std::string& path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(scan_mutex_, mutex_);
  void ShowImage(const FoundImage& image) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Node& NewNode(bool is_directory) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EraseIfUnused(NodeId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Errors: ENOENT, ENOTDIR, ESTALE.
  absl::StatusOr<Reference> FindChild(NodeId parent, const std::string& name);
  bool IsInSource(NodeId parent, const std::string& name);
  // Looks at the file again and notes what it is now; counts a lookup if asked
  // to. Errors: ESTALE the name shows something else by now.
  absl::StatusOr<NodeInfo> Verify(const Reference& reference, uint64_t lookups);
  absl::StatusOr<Look> LookAt(const Reference& reference);
  std::shared_ptr<const ImageFacts> FactsInUse(const FileId& file);
  NodeInfo Describe(const Node& node) const;
  std::vector<Change> ChangesOf(const SourceWatch::Change& change);

  ConfinedFileSystem& files_;
  const std::string only_name_;
  Log& log_;
  SourceTree tree_;
  uint64_t source_device_ = 0;
  ImageInspector inspector_;
  SourceWatch watch_;

  // One walk at a time. Taken before mutex_.
  Mutex scan_mutex_;
  SourceIndex index_ ABSL_GUARDED_BY(scan_mutex_);

  // Held for no system call.
  Mutex mutex_;
  NodeId next_id_ ABSL_GUARDED_BY(mutex_) = kRootNode + 1;
  absl::flat_hash_map<NodeId, std::unique_ptr<Node>> nodes_
      ABSL_GUARDED_BY(mutex_);
  // A view is its file, whatever names that has; a folder is its path, for the
  // kernel wants just one place for each.
  absl::flat_hash_map<FileId, NodeId> views_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, NodeId> directories_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_CATALOG_H_
