// SPDX-License-Identifier: Apache-2.0
#include "source_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace flatcow::daemon {
namespace {

constexpr uint32_t kOfNames =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
constexpr uint32_t kOfFiles = IN_CLOSE_WRITE | IN_ATTRIB;

}  // namespace

void SourceWatch::Start(std::function<void(const Change&)> changed) {
  UniqueFd events(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  stop_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
  if (!events.ok() || !stop_.ok()) return;
  changed_ = std::move(changed);
  events_ = std::move(events);
  thread_ = std::thread([this] { Run(); });
}

void SourceWatch::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written =
      write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void SourceWatch::Add(const std::string& path, int descriptor) {
  if (!events_.ok()) return;
  // The path may lead elsewhere by now; the descriptor does not.
  const std::string folder = absl::StrCat("/proc/self/fd/", descriptor);
  MutexLock lock(mutex_);
  const int watch = inotify_add_watch(
      events_.get(), folder.c_str(),
      kOfNames | kOfFiles | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
  const auto known = watches_.find(path);
  if (known != watches_.end() && known->second != watch) {
    paths_.erase(known->second);
    watches_.erase(known);
  }
  if (watch < 0) return;
  const auto [same, is_new] = paths_.try_emplace(watch, path);
  if (!is_new && same->second != path) {
    watches_.erase(same->second);  // it has been moved
    same->second = path;
  }
  watches_[path] = watch;
}

bool SourceWatch::Watches(const std::string& path) const {
  MutexLock lock(mutex_);
  return watches_.contains(path);
}

void SourceWatch::Run() {
  alignas(inotify_event) char buffer[16384];
  while (true) {
    pollfd ready[2] = {{events_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (poll(ready, 2, -1) < 0) continue;
    if (ready[1].revents != 0) return;
    const ssize_t length = read(events_.get(), buffer, sizeof(buffer));
    for (ssize_t at = 0; at < length;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof(event));
      Handle(event.wd, event.mask,
             event.len != 0 ? buffer + at + sizeof(event) : "");
      at += static_cast<ssize_t>(sizeof(event) + event.len);
    }
  }
}

void SourceWatch::Handle(int watch, uint32_t mask, const char* name) {
  Change change;
  {
    MutexLock lock(mutex_);
    const auto known = paths_.find(watch);
    if (known == paths_.end()) return;
    change.folder = known->second;
    if ((mask & IN_IGNORED) != 0) {
      watches_.erase(known->second);
      paths_.erase(known);
      return;
    }
    if ((mask & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0) {
      return DropTree(change.folder);
    }
  }
  if (*name == '\0') return;
  change.name = name;
  change.of_names = (mask & kOfNames) != 0;
  changed_(change);
}

void SourceWatch::DropTree(const std::string& path) {
  const std::string below = path.empty() ? "" : absl::StrCat(path, "/");
  std::vector<int> dropped;
  for (const auto& [watch, folder] : paths_) {
    if (folder == path || absl::StartsWith(folder, below)) {
      dropped.push_back(watch);
    }
  }
  for (const int watch : dropped) {
    inotify_rm_watch(events_.get(), watch);
    watches_.erase(paths_[watch]);
    paths_.erase(watch);
  }
}

}  // namespace flatcow::daemon
