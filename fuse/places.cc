// SPDX-License-Identifier: Apache-2.0
#include "places.h"

#include <sys/stat.h>

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

absl::StatusOr<std::string> ResolveMountpoint(const std::string& path) {
  auto resolved = Resolve(path);
  if (!resolved.ok()) {
    if (ErrnoOf(resolved.status()) != ENOTCONN) return resolved.status();
    return Annotate(resolved.status(),
                    "the daemon of what is mounted there has died; unmount it "
                    "first");
  }
  const auto mount = FindMount(*resolved);
  if (mount.has_value() && absl::StartsWith(mount->type, "fuse.flatcow")) {
    return MakeError(
        EBUSY, absl::StrCat(*resolved,
                            ": flatcow is already mounted here; unmount it "
                            "first (fusermount3 -u)"));
  }
  return resolved;
}

}  // namespace

absl::StatusOr<Places> FindPlaces(const Options& options, int& exit_code) {
  Places places;
  exit_code = kExitSystem;
  auto source = Resolve(options.source);
  if (!source.ok()) return source.status();
  places.source = options.source.front() == '/' ? options.source : *source;
  struct stat stat;
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
  exit_code = kExitMount;
  auto mountpoint = ResolveMountpoint(options.mountpoint);
  if (!mountpoint.ok()) return mountpoint.status();
  if (::stat(mountpoint->c_str(), &stat) != 0 || !S_ISDIR(stat.st_mode)) {
    return ErrnoError(ENOTDIR, *mountpoint);
  }
  places.mountpoint = *std::move(mountpoint);
  return places;
}

}  // namespace flatcow::daemon
