// SPDX-License-Identifier: Apache-2.0
#include "io/path_walk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "flatcow/status.h"

namespace flatcow {
namespace {

constexpr int kMaxLinks = 40;  // the kernel's own limit

// Takes the first component, and the slashes before it, off `path`.
absl::string_view TakeComponent(absl::string_view& path) {
  path.remove_prefix(std::min(path.find_first_not_of('/'), path.size()));
  const absl::string_view component = path.substr(0, path.find('/'));
  path.remove_prefix(component.size());
  return component;
}

// What is left of `path`, which begins anywhere, behind `root`; nullopt when
// it does not begin with the same components.
std::optional<absl::string_view> Behind(absl::string_view root,
                                        absl::string_view path) {
  for (;;) {
    const absl::string_view wanted = TakeComponent(root);
    if (wanted.empty()) return path;
    absl::string_view found = TakeComponent(path);
    while (found == ".") found = TakeComponent(path);
    if (found != wanted) return std::nullopt;
  }
}

std::string Child(absl::string_view directory, absl::string_view name) {
  return absl::StrCat(directory == "/" ? "" : directory, "/", name);
}

std::string Parent(absl::string_view directory) {
  const size_t slash = directory.rfind('/');
  return std::string(directory.substr(0, slash == 0 ? 1 : slash));
}

// The state of one walk.
class Walk {
 public:
  Walk(absl::string_view name, const WalkRules& rules)
      : name_(name), rules_(rules) {}

  absl::StatusOr<UniqueFd> Run();

 private:
  absl::Status Error(int error_number) const {
    return ErrnoError(error_number, absl::StrCat(name_, ": open"));
  }

  // Goes to the root that `path` begins with, the longest, or to "/". Leaves
  // the rest of `path` in rest_.
  absl::Status Restart(const std::string& path);
  absl::Status EnterRoot(const WalkRoot& root);
  absl::Status Step(absl::string_view component, bool must_be_directory);
  // Puts the target of a link in front of rest_.
  absl::Status Follow(int link);

  const std::string name_;
  const WalkRules& rules_;
  int links_ = 0;
  UniqueFd here_;
  std::string here_path_;  // resolved
  std::string rest_;       // still to be walked
};

absl::Status Walk::EnterRoot(const WalkRoot& root) {
  here_ = UniqueFd(fcntl(root.descriptor, F_DUPFD_CLOEXEC, 0));
  if (!here_.valid()) return Error(errno);
  here_path_ = root.path;
  return absl::OkStatus();
}

absl::Status Walk::Restart(const std::string& path) {
  const WalkRoot* best = nullptr;
  absl::string_view rest = path;
  for (const WalkRoot& root : rules_.roots) {
    const std::optional<absl::string_view> behind = Behind(root.path, path);
    if (behind.has_value() &&
        (best == nullptr || root.path.size() > best->path.size())) {
      best = &root;
      rest = *behind;
    }
  }
  rest_ = std::string(rest);
  if (best != nullptr) return EnterRoot(*best);
  here_ = UniqueFd(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!here_.valid()) return Error(errno);
  here_path_.assign(1, '/');
  return absl::OkStatus();
}

absl::Status Walk::Follow(int link) {
  if (++links_ > kMaxLinks) return Error(ELOOP);
  char target[PATH_MAX];
  const ssize_t n = readlinkat(link, "", target, sizeof(target));
  if (n < 0) return Error(errno);
  if (n == 0) return Error(ENOENT);
  if (static_cast<size_t>(n) == sizeof(target)) return Error(ENAMETOOLONG);
  std::string path =
      absl::StrCat(absl::string_view(target, static_cast<size_t>(n)), rest_);
  if (path.front() == '/') return Restart(path);
  rest_ = std::move(path);
  return absl::OkStatus();
}

absl::Status Walk::Step(absl::string_view component, bool must_be_directory) {
  std::string next_path =
      component == ".." ? Parent(here_path_) : Child(here_path_, component);
  for (const WalkRoot& root : rules_.roots) {
    if (root.path == next_path) return EnterRoot(root);
  }

  const std::string name(component);
  constexpr int kFlags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  // O_DIRECTORY makes an automounter mount what belongs here.
  UniqueFd next(openat(here_.get(), name.c_str(),
                       must_be_directory ? kFlags | O_DIRECTORY : kFlags));
  if (!next.valid() && must_be_directory && errno == ENOTDIR) {
    next = UniqueFd(openat(here_.get(), name.c_str(), kFlags));
  }
  if (!next.valid()) return Error(errno);

  struct statx attributes;
  if (statx(next.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE,
            &attributes) != 0) {
    return Error(errno);
  }
  if (rules_.excluded_device != 0 &&
      makedev(attributes.stx_dev_major, attributes.stx_dev_minor) ==
          rules_.excluded_device) {
    return MakeError(
        ELOOP,
        absl::StrCat(name_, ": leads into flatcow's own mount at ", next_path,
                     "; name the file in its own "
                     "directory instead"));
  }
  if (S_ISLNK(attributes.stx_mode)) return Follow(next.get());
  if (must_be_directory && !S_ISDIR(attributes.stx_mode)) {
    return Error(ENOTDIR);
  }
  here_ = std::move(next);
  here_path_ = std::move(next_path);
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> Walk::Run() {
  if (name_.empty()) return Error(ENOENT);
  // The kernel would end the name there.
  if (absl::StrContains(name_, '\0')) return Error(EINVAL);
  std::string path = name_;
  if (path.front() != '/') {
    char directory[PATH_MAX];
    if (getcwd(directory, sizeof(directory)) == nullptr) return Error(errno);
    path = absl::StrCat(directory, "/", path);
  }
  RETURN_IF_ERROR(Restart(path));
  for (;;) {
    absl::string_view rest = rest_;
    const std::string component(TakeComponent(rest));
    if (component.empty()) return std::move(here_);
    rest_ = std::string(rest);
    if (component != ".") RETURN_IF_ERROR(Step(component, !rest_.empty()));
  }
}

}  // namespace

absl::StatusOr<UniqueFd> WalkPath(absl::string_view path,
                                  const WalkRules& rules) {
  return Walk(path, rules).Run();
}

bool IsInside(absl::string_view path, absl::string_view directory) {
  return absl::ConsumePrefix(&path, directory) &&
         (path.empty() || path.front() == '/' ||
          absl::EndsWith(directory, "/"));
}

}  // namespace flatcow
