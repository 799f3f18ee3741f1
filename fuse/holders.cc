// SPDX-License-Identifier: Apache-2.0
#include "holders.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace flatcow::daemon {
namespace {

std::vector<std::string> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  DIR* const stream = opendir(directory.c_str());
  if (stream == nullptr) return names;
  while (const dirent* entry = readdir(stream)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(stream);
  return names;
}

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// `link` is a magic link of /proc: it is followed to the open file, whatever
// name that has by now.
bool IsOnDevice(const std::string& link, uint64_t device) {
  struct statx info;
  return statx(AT_FDCWD, link.c_str(), AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
               STATX_TYPE, &info) == 0 &&
         makedev(info.stx_dev_major, info.stx_dev_minor) == device;
}

std::string TargetOf(const std::string& link) {
  char target[PATH_MAX];
  const ssize_t length = readlink(link.c_str(), target, sizeof(target));
  return length < 0 ? std::string()
                    : std::string(target, static_cast<size_t>(length));
}

std::set<std::string> FilesOf(const std::string& process, uint64_t device) {
  std::set<std::string> files;
  for (const std::string& name : NamesIn(process + "/fd")) {
    const std::string link = absl::StrCat(process, "/fd/", name);
    if (IsOnDevice(link, device)) files.insert(TargetOf(link));
  }
  const std::string directory = process + "/cwd";
  if (IsOnDevice(directory, device)) files.insert(TargetOf(directory));
  return files;
}

}  // namespace

std::vector<std::string> FindHolders(const std::string& mountpoint,
                                     uint64_t device) {
  std::vector<std::string> holders;
  for (const std::string& name : NamesIn("/proc")) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(name, &pid) || pid == getpid()) continue;
    const std::string process = "/proc/" + name;
    const std::set<std::string> files = FilesOf(process, device);
    if (files.empty()) continue;
    holders.push_back(absl::StrCat(FirstLine(process + "/comm"), " (pid ", name,
                                   "): ", absl::StrJoin(files, ", ")));
  }
  for (const std::string& name : NamesIn("/sys/block")) {
    if (!absl::StartsWith(name, "loop")) continue;
    const std::string file =
        FirstLine(absl::StrCat("/sys/block/", name, "/loop/backing_file"));
    if (absl::StartsWith(file, mountpoint + "/")) {
      holders.push_back(absl::StrCat("/dev/", name, ": ", file));
    }
  }
  return holders;
}

}  // namespace flatcow::daemon
