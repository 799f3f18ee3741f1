// SPDX-License-Identifier: Apache-2.0
#include "ephemeral_place.h"

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "flatcow/ephemeral.h"
#include "flatcow/status.h"

namespace flatcow::daemon {
namespace {

std::string DirectoryOf(const std::string& path) {
  return path.substr(0, std::max<size_t>(path.rfind('/'), 1));
}

absl::StatusOr<std::unique_ptr<File>> CreateBeside(FileSystem& files,
                                                   const std::string& path) {
  auto file = files.CreateUnnamed(DirectoryOf(path));
  switch (ErrnoOf(file.status())) {
    case EACCES:
    case EPERM:
    case EROFS:
      return MakeError(ErrnoOf(file.status()),
                       absl::StrCat(file.status().message(),
                                    ": what is written to an ephemeral view "
                                    "goes there; mount with -o ephemeral=DIR "
                                    "to have it elsewhere"));
    default:
      return file;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<EphemeralPlace>> EphemeralPlace::Open(
    const std::string& directory) {
  std::unique_ptr<ConfinedFileSystem> files;
  if (!directory.empty()) {
    auto opened = ConfinedFileSystem::Open({directory});
    if (!opened.ok()) return Annotate(opened.status(), "-o ephemeral");
    files = *std::move(opened);
    const auto file = files->CreateUnnamed(files->root_path(0));
    if (!file.ok()) return Annotate(file.status(), "-o ephemeral");
  }
  return std::unique_ptr<EphemeralPlace>(new EphemeralPlace(std::move(files)));
}

absl::StatusOr<std::unique_ptr<Image>> EphemeralPlace::OpenImage(
    FileSystem& files, const std::string& path,
    const OpenOptions& options) const {
  ConfinedFileSystem* const directory = directory_.get();
  return OpenEphemeral(files, path, options, [directory, &files, path] {
    return directory != nullptr
               ? directory->CreateUnnamed(directory->root_path(0))
               : CreateBeside(files, path);
  });
}

int EphemeralPlace::descriptor() const {
  return directory_ != nullptr ? directory_->root_descriptor(0) : -1;
}

}  // namespace flatcow::daemon
