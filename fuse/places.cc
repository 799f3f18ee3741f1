// SPDX-License-Identifier: Apache-2.0
#include "places.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "flatcow/status.h"
#include "mount_point.h"

namespace flatcow::daemon {
namespace {

struct Free {
  void operator()(char* memory) const { std::free(memory); }
};

absl::StatusOr<std::string> Resolve(const std::string& path) {
  const std::unique_ptr<char, Free> resolved(realpath(path.c_str(), nullptr));
  if (resolved == nullptr) return ErrnoError(errno, path);
  return std::string(resolved.get());
}

absl::Status DeadMount(const std::string& path, absl::string_view whose) {
  return MakeError(ENOTCONN,
                   absl::StrCat(path, ": the daemon of ", whose,
                                " that is mounted here has died; unmount it "
                                "first (umount -l, or fusermount3 -u)"));
}

// Unmounts what daemons of ours that died have left on `path`, be it several
// mounts. OK: what is mounted there now, if anything, may be mounted over.
absl::Status ClearMountpoint(const std::string& path, Log& log) {
  while (const auto mount = FindMount(path)) {
    if (!IsDead(path)) {
      if (!absl::StartsWith(mount->type, "fuse.flatcow")) break;
      return MakeError(EBUSY,
                       absl::StrCat(path,
                                    ": flatcow is already mounted here; "
                                    "unmount it first (fusermount3 -u)"));
    }
    if (mount->type != "fuse.flatcow") {
      return DeadMount(path, absl::StrCat("the ", mount->type));
    }
    if (geteuid() != 0 && mount->user != getuid()) {
      return DeadMount(path, "another user's flatcow");
    }
    const absl::Status detached = DetachMount(path, mount->device);
    if (!detached.ok()) return detached;
    log.Write(
        Severity::kInfo,
        absl::StrCat(path, ": unmounted what a flatcow that died had left"));
  }
  return absl::OkStatus();
}

// Resolved without a request to what is mounted there, which may be dead.
absl::StatusOr<std::string> ResolveMountpoint(std::string path) {
  // A slash at the end would be a look inside.
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  auto resolved = Resolve(path);
  if (ErrnoOf(resolved.status()) == ENOTCONN) {
    return Annotate(resolved.status(),
                    "the daemon of what is mounted above has died; unmount it "
                    "first");
  }
  return resolved;
}

}  // namespace

absl::StatusOr<Places> FindPlaces(const Options& options, Log& log,
                                  int& exit_code) {
  Places places;
  struct stat stat;
  // Before SOURCE, which a dead mount may cover.
  exit_code = kExitMount;
  auto mountpoint = ResolveMountpoint(options.mountpoint);
  if (!mountpoint.ok()) return mountpoint.status();
  const absl::Status cleared = ClearMountpoint(*mountpoint, log);
  if (!cleared.ok()) return cleared;
  if (::stat(mountpoint->c_str(), &stat) != 0 || !S_ISDIR(stat.st_mode)) {
    return ErrnoError(ENOTDIR, *mountpoint);
  }
  places.mountpoint = *std::move(mountpoint);

  exit_code = kExitSystem;
  auto source = Resolve(options.source);
  if (!source.ok()) return source.status();
  places.source = options.source.front() == '/' ? options.source : *source;
  if (::stat(source->c_str(), &stat) != 0) return ErrnoError(errno, *source);
  if (S_ISREG(stat.st_mode)) {
    const size_t slash = source->rfind('/');
    places.only_name = source->substr(slash + 1);
    source->resize(slash == 0 ? 1 : slash);
  } else if (!S_ISDIR(stat.st_mode)) {
    exit_code = kExitMount;
    return MakeError(EINVAL, absl::StrCat(options.source,
                                          ": neither a directory nor a file"));
  }
  places.roots.push_back(*std::move(source));
  for (const std::string& directory : options.allow) {
    auto resolved = Resolve(directory);
    if (!resolved.ok()) {
      return Annotate(resolved.status(), absl::StrCat("-o allow=", directory));
    }
    places.roots.push_back(*std::move(resolved));
  }
  if (!options.ephemeral.value_or("").empty()) {
    auto resolved = Resolve(*options.ephemeral);
    if (!resolved.ok()) {
      return Annotate(resolved.status(), "-o ephemeral");
    }
    places.ephemeral = *std::move(resolved);
  }
  return places;
}

}  // namespace flatcow::daemon
