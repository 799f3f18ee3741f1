// SPDX-License-Identifier: Apache-2.0
//
// Tells when something changes in the folders of SOURCE: inotify(7).
//
// It makes what the kernel keeps of a mount end early, no more: where there is
// no inotify, no room for another watch, or a queue that overflows, names and
// attributes are as old as their time-outs allow. Writing to a file is told
// only when the file is closed: the daemon itself writes to images all the
// time.
#ifndef FLATCOW_FUSE_SOURCE_WATCH_H_
#define FLATCOW_FUSE_SOURCE_WATCH_H_

#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "mutex.h"
#include "unique_fd.h"

namespace flatcow::daemon {

// Thread-safe.
class SourceWatch {
 public:
  struct Change {
    std::string folder;  // as it was added
    std::string name;    // in it
    bool of_names;       // it came or went, or is another file now
  };

  SourceWatch() = default;
  ~SourceWatch() { Stop(); }
  SourceWatch(const SourceWatch&) = delete;
  SourceWatch& operator=(const SourceWatch&) = delete;

  // Until Stop(), a thread calls `changed` for what happens in the folders that
  // are added from now on. Without Start() nothing is watched.
  void Start(std::function<void(const Change&)> changed);
  void Stop();

  // Watches the folder at `path`, which `descriptor` has open. Call it before
  // reading the folder, so that no change is missed.
  void Add(const std::string& path, int descriptor);

  bool Watches(const std::string& path) const;

 private:
  void Run();
  void Handle(int watch, uint32_t mask, const char* name);
  // Forgets a folder and all below it, which have other paths now.
  void DropTree(const std::string& path) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  std::function<void(const Change&)> changed_;
  UniqueFd events_;
  UniqueFd stop_;
  std::thread thread_;

  mutable Mutex mutex_;
  absl::flat_hash_map<int, std::string> paths_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, int> watches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_SOURCE_WATCH_H_
