// SPDX-License-Identifier: Apache-2.0
#include "io/replace_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "io/unique_fd.h"

namespace flatcow {
namespace {

constexpr mode_t kPermissions = 07777;

// Only root may give a file away; others may at least choose among their
// groups. Rights that were meant for another group are not given to ours.
absl::Status TakeAttributes(int file, const struct stat& model,
                            absl::string_view path) {
  mode_t mode = model.st_mode & kPermissions;
  if (fchown(file, model.st_uid, model.st_gid) != 0 &&
      fchown(file, static_cast<uid_t>(-1), model.st_gid) != 0) {
    mode &= ~mode_t{S_IRWXG};
  }
  if (fchmod(file, mode) != 0 || fsync(file) != 0) {
    return ErrnoError(errno, absl::StrCat(path, ": replace: attributes"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReplaceFile(int directory, const std::string& from,
                         const std::string& to, absl::string_view path) {
  // Before anything changes: without it the step can't be made durable.
  const UniqueFd names(
      openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!names.valid()) {
    return ErrnoError(errno, absl::StrCat(path, ": replace: open directory"));
  }
  const UniqueFd file(openat(names.get(), from.c_str(),
                             O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat model;
  if (!file.valid() ||
      fstatat(names.get(), to.c_str(), &model, AT_SYMLINK_NOFOLLOW) != 0) {
    return ErrnoError(errno, absl::StrCat(path, ": replace"));
  }
  RETURN_IF_ERROR(TakeAttributes(file.get(), model, path));
  if (renameat(names.get(), from.c_str(), names.get(), to.c_str()) != 0) {
    return ErrnoError(errno, absl::StrCat(path, ": replace"));
  }
  if (fsync(names.get()) != 0) {
    return ErrnoError(errno, absl::StrCat(path, ": replace: sync directory"));
  }
  return absl::OkStatus();
}

}  // namespace flatcow
