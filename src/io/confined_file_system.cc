// SPDX-License-Identifier: Apache-2.0
#include "flatcow/confined_file_system.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "io/path_walk.h"
#include "io/posix_file.h"
#include "io/replace_file.h"
#include "io/unique_fd.h"

namespace flatcow {
namespace {

absl::string_view DirectoryOf(absl::string_view path) {
  return path.substr(0, std::max<size_t>(path.rfind('/'), 1));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ConfinedFileSystem>> ConfinedFileSystem::Open(
    const std::vector<std::string>& roots) {
  std::vector<UniqueFd> descriptors;
  std::vector<WalkRoot> opened;
  for (const std::string& root : roots) {
    UniqueFd fd(open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid()) {
      return ErrnoError(errno, absl::StrCat(root, ": open directory"));
    }
    ASSIGN_OR_RETURN(std::string path, DescriptorPath(fd.get()));
    opened.push_back({std::move(path), fd.get()});
    descriptors.push_back(std::move(fd));
  }
  for (UniqueFd& fd : descriptors) static_cast<void>(fd.release());
  return std::unique_ptr<ConfinedFileSystem>(
      new ConfinedFileSystem(std::move(opened)));
}

ConfinedFileSystem::ConfinedFileSystem(std::vector<WalkRoot> roots)
    : roots_(std::move(roots)) {}

ConfinedFileSystem::~ConfinedFileSystem() {
  for (const WalkRoot& root : roots_) close(root.descriptor);
}

const std::string& ConfinedFileSystem::root_path(size_t index) const {
  return roots_[index].path;
}

int ConfinedFileSystem::root_descriptor(size_t index) const {
  return roots_[index].descriptor;
}

absl::StatusOr<UniqueFd> ConfinedFileSystem::Walk(
    absl::string_view path) const {
  return WalkPath(path, {roots_, excluded_device_.load()});
}

absl::Status ConfinedFileSystem::CheckInside(absl::string_view location,
                                             absl::string_view path) const {
  for (const WalkRoot& root : roots_) {
    if (IsInside(location, root.path)) return absl::OkStatus();
  }
  return MakeError(
      EACCES,
      absl::StrCat(path,
                   ": lies outside the directories that may be opened; mount "
                   "with -o allow=",
                   DirectoryOf(path), " to permit it"));
}

absl::StatusOr<std::pair<UniqueFd, std::string>> ConfinedFileSystem::Locate(
    absl::string_view path) const {
  ASSIGN_OR_RETURN(UniqueFd location, Walk(path));
  // Not the path that was walked: a directory may have been moved meanwhile.
  ASSIGN_OR_RETURN(std::string found, DescriptorPath(location.get()));
  RETURN_IF_ERROR(CheckInside(found, found));
  return std::make_pair(std::move(location), std::move(found));
}

absl::StatusOr<std::pair<UniqueFd, std::string>> ConfinedFileSystem::Parent(
    absl::string_view path, absl::string_view operation) const {
  const size_t slash = path.rfind('/');
  const bool has_directory = slash != absl::string_view::npos;
  const absl::string_view directory =
      has_directory ? path.substr(0, slash + 1) : "./";
  std::string name(has_directory ? path.substr(slash + 1) : path);
  if (name.empty() || name == "." || name == "..") {
    return ErrnoError(EISDIR, absl::StrCat(path, ": ", operation));
  }
  ASSIGN_OR_RETURN(UniqueFd parent, Walk(directory));
  ASSIGN_OR_RETURN(const std::string found, DescriptorPath(parent.get()));
  RETURN_IF_ERROR(
      CheckInside(found, absl::StrCat(found, found == "/" ? "" : "/", name)));
  return std::make_pair(std::move(parent), std::move(name));
}

absl::StatusOr<std::unique_ptr<File>> ConfinedFileSystem::Open(
    const std::string& path, Access access) {
  ASSIGN_OR_RETURN(const auto found, Locate(path));
  return OpenLocation(found.first.get(), found.second, access);
}

absl::StatusOr<std::unique_ptr<File>> ConfinedFileSystem::Create(
    const std::string& path) {
  ASSIGN_OR_RETURN(const auto parent, Parent(path, "create"));
  UniqueFd fd(openat(parent.first.get(), parent.second.c_str(),
                     O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOCTTY, 0666));
  if (!fd.valid()) return ErrnoError(errno, absl::StrCat(path, ": create"));
  ASSIGN_OR_RETURN(std::string created, DescriptorPath(fd.get()));
  return std::make_unique<PosixFile>(std::move(created), std::move(fd), false);
}

absl::Status ConfinedFileSystem::Remove(const std::string& path) {
  ASSIGN_OR_RETURN(const auto parent, Parent(path, "remove"));
  if (unlinkat(parent.first.get(), parent.second.c_str(), 0) != 0) {
    return ErrnoError(errno, absl::StrCat(path, ": remove"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<File>> ConfinedFileSystem::CreateUnnamed(
    const std::string& directory) {
  constexpr char kOperation[] = "create a file without a name";
  // Any name will do: it is the directory that is asked for.
  ASSIGN_OR_RETURN(const auto parent,
                   Parent(absl::StrCat(directory, "/x"), kOperation));
  UniqueFd fd(openat(parent.first.get(), ".",
                     O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (fd.valid()) {
    ASSIGN_OR_RETURN(std::string path, DescriptorPath(fd.get()));
    return std::make_unique<PosixFile>(std::move(path), std::move(fd), false);
  }
  // EISDIR: a file system, or a kernel below it, that has never heard of it.
  if (errno != EOPNOTSUPP && errno != EISDIR) {
    return ErrnoError(errno, absl::StrCat(directory, ": ", kOperation));
  }
  return FileSystem::CreateUnnamed(directory);
}

absl::Status ConfinedFileSystem::Replace(const std::string& from,
                                         const std::string& to) {
  ASSIGN_OR_RETURN(const auto source, Parent(from, "replace"));
  ASSIGN_OR_RETURN(const auto target, Parent(to, "replace"));
  struct stat source_stat;
  struct stat target_stat;
  if (fstat(source.first.get(), &source_stat) != 0 ||
      fstat(target.first.get(), &target_stat) != 0) {
    return ErrnoError(errno, absl::StrCat(to, ": replace"));
  }
  if (source_stat.st_dev != target_stat.st_dev ||
      source_stat.st_ino != target_stat.st_ino) {
    return ErrnoError(EXDEV, absl::StrCat(to, ": replace by ", from));
  }
  return ReplaceFile(target.first.get(), source.second, target.second, to);
}

absl::StatusOr<FileStat> ConfinedFileSystem::Stat(const std::string& path) {
  ASSIGN_OR_RETURN(const auto found, Locate(path));
  return StatLocation(found.first.get(), found.second);
}

}  // namespace flatcow
