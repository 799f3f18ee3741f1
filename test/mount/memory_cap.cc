// SPDX-License-Identifier: Apache-2.0
#include "mount/memory_cap.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace flatcow {
namespace {

struct Hierarchy {
  std::string mountpoint;
  std::string own;  // our own cgroup in it
  const char* limit = "memory.max";
  const char* counter = "memory.events";
};

std::string OwnGroup(bool version1) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (words.size() != 3) continue;
    const std::vector<std::string> names = absl::StrSplit(words[1], ',');
    for (const std::string& name : names) {
      if (name == (version1 ? "memory" : "")) return words[2];
    }
  }
  return "";
}

std::vector<Hierarchy> Hierarchies() {
  std::vector<Hierarchy> found;
  std::ifstream file("/proc/self/mounts");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string source;
    std::string mountpoint;
    std::string type;
    std::string options;
    words >> source >> mountpoint >> type >> options;
    if (type == "cgroup2") {
      // Below a cgroup with processes in it there is no limit but at the root.
      found.push_back({mountpoint, OwnGroup(false)});
      found.push_back({mountpoint, ""});
    } else if (type == "cgroup" &&
               absl::StrCat(",", options, ",").find(",memory,") !=
                   std::string::npos) {
      found.push_back({mountpoint, OwnGroup(true), "memory.limit_in_bytes",
                       "memory.failcnt"});
    }
  }
  return found;
}

bool WriteFile(const std::string& path, const std::string& text) {
  if (access(path.c_str(), W_OK) != 0) return false;
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

}  // namespace

MemoryCap::MemoryCap(uint64_t bytes) {
  for (const Hierarchy& hierarchy : Hierarchies()) {
    const std::string path = absl::StrCat(hierarchy.mountpoint, hierarchy.own,
                                          "/flatcow-test-", getpid());
    if (mkdir(path.c_str(), 0755) != 0) continue;
    if (WriteFile(absl::StrCat(path, "/", hierarchy.limit),
                  absl::StrCat(bytes))) {
      path_ = path;
      counter_ = absl::StrCat(path, "/", hierarchy.counter);
      return;
    }
    rmdir(path.c_str());
  }
}

MemoryCap::~MemoryCap() {
  if (ok()) rmdir(path_.c_str());
}

std::string MemoryCap::Command() const {
  return absl::StrCat("sh -c 'echo $$ > ", path_,
                      "/cgroup.procs && exec \"$@\"' capped");
}

// memory.failcnt is a number, memory.events has lines as "max 12".
uint64_t MemoryCap::TimesReached() const {
  std::ifstream file(counter_);
  std::string word;
  uint64_t count = 0;
  if (file >> count) return count;
  file.clear();
  while (file >> word >> count) {
    if (word == "max") return count;
  }
  return 0;
}

}  // namespace flatcow
