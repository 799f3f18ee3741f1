// SPDX-License-Identifier: Apache-2.0
#include "mount_point.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "flatcow/status.h"
#include "unique_fd.h"

namespace flatcow::daemon {
namespace {

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

// mountinfo writes blanks and backslashes as \ooo.
std::string Unescape(absl::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && IsOctal(text[i + 1]) &&
        IsOctal(text[i + 2]) && IsOctal(text[i + 3])) {
      plain.push_back(static_cast<char>((text[i + 1] - '0') * 64 +
                                        (text[i + 2] - '0') * 8 +
                                        (text[i + 3] - '0')));
      i += 3;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

// "rw,user_id=1000,group_id=1000": a file system's own options.
std::optional<uid_t> UserIn(absl::string_view options) {
  for (absl::string_view option : absl::StrSplit(options, ',')) {
    uid_t user = 0;
    if (absl::ConsumePrefix(&option, "user_id=") &&
        absl::SimpleAtoi(option, &user)) {
      return user;
    }
  }
  return std::nullopt;
}

// The way out for a mount that fusermount3 made for an ordinary user.
absl::Status RunFusermount(const std::string& path) {
  std::vector<std::string> words = {"fusermount3", "-u", "-z", "--", path};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t child = -1;
  const int error =
      posix_spawnp(&child, argv[0], nullptr, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return ErrnoError(error, "fusermount3");
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return ErrnoError(errno, "fusermount3");
  }
  if (status != 0) {
    return MakeError(EPERM, absl::StrCat(path, ": fusermount3 failed"));
  }
  return absl::OkStatus();
}

}  // namespace

// A line:
// "36 35 98:0 /root /mount/point options fields... - type source fs-options"
std::optional<MountEntry> FindMountIn(const std::string& mountinfo,
                                      const std::string& path) {
  std::optional<MountEntry> found;
  for (const absl::string_view line : absl::StrSplit(mountinfo, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    if (words.size() < 7 || Unescape(words[4]) != path) continue;
    size_t dash = 6;
    while (dash < words.size() && words[dash] != "-") ++dash;
    if (dash + 1 >= words.size()) continue;
    const std::vector<absl::string_view> numbers =
        absl::StrSplit(words[2], ':');
    uint32_t major = 0;
    uint32_t minor = 0;
    if (numbers.size() != 2 || !absl::SimpleAtoi(numbers[0], &major) ||
        !absl::SimpleAtoi(numbers[1], &minor)) {
      continue;
    }
    // Later lines are mounted over earlier ones.
    found = MountEntry{
        Unescape(words[dash + 1]), makedev(major, minor),
        dash + 3 < words.size() ? UserIn(words[dash + 3]) : std::nullopt};
  }
  return found;
}

std::optional<MountEntry> FindMount(const std::string& path) {
  std::ifstream file("/proc/self/mountinfo");
  std::stringstream text;
  text << file.rdbuf();
  return FindMountIn(text.str(), path);
}

absl::StatusOr<uint64_t> DeviceAt(const std::string& path) {
  const UniqueFd place(open(path.c_str(), O_PATH | O_CLOEXEC));
  struct statx info;
  if (!place.ok() || statx(place.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
                           STATX_TYPE, &info) != 0) {
    return ErrnoError(errno, path);
  }
  return makedev(info.stx_dev_major, info.stx_dev_minor);
}

bool IsDead(const std::string& path) {
  // What the kernel remembers of the mount would be no sign of life.
  struct statx info;
  return statx(AT_FDCWD, path.c_str(), AT_STATX_FORCE_SYNC | AT_NO_AUTOMOUNT,
               STATX_BASIC_STATS, &info) != 0 &&
         // The second, when the daemon dies while we ask.
         (errno == ENOTCONN || errno == ECONNABORTED);
}

absl::Status DetachMount(const std::string& path, uint64_t device) {
  const auto mount = FindMount(path);
  if (!mount.has_value()) return absl::OkStatus();
  if (mount->device != device) {
    return ErrnoError(EBUSY, absl::StrCat(path, ": another mount covers it"));
  }
  if (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
    return absl::OkStatus();
  }
  if (errno != EPERM) return ErrnoError(errno, path);
  return RunFusermount(path);
}

void SetReadAhead(uint64_t device, unsigned kibibytes) {
  const std::string path = absl::StrCat("/sys/class/bdi/", major(device), ":",
                                        minor(device), "/read_ahead_kb");
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.ok()) return;
  const std::string text = absl::StrCat(kibibytes);
  [[maybe_unused]] const ssize_t written =
      write(file.get(), text.data(), text.size());
}

}  // namespace flatcow::daemon
