// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/file.h"
#include "flatcow/status.h"
#include "io/posix_file.h"
#include "io/replace_file.h"
#include "io/unique_fd.h"

namespace flatcow {
namespace {

// The tool runs with its user's own rights, so the kernel's lookup will do.
class UnconfinedFileSystem final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             Access access) override {
    ASSIGN_OR_RETURN(const UniqueFd location, Locate(path));
    ASSIGN_OR_RETURN(const std::string found, DescriptorPath(location.get()));
    return OpenLocation(location.get(), found, access);
  }

  absl::StatusOr<std::unique_ptr<File>> Create(
      const std::string& path) override {
    UniqueFd fd(open(path.c_str(),
                     O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOCTTY, 0666));
    if (!fd.valid()) {
      return ErrnoError(errno, absl::StrCat(path, ": create"));
    }
    ASSIGN_OR_RETURN(std::string found, DescriptorPath(fd.get()));
    return std::make_unique<PosixFile>(std::move(found), std::move(fd), false);
  }

  absl::Status Remove(const std::string& path) override {
    if (unlink(path.c_str()) != 0) {
      return ErrnoError(errno, absl::StrCat(path, ": remove"));
    }
    return absl::OkStatus();
  }

  absl::Status Replace(const std::string& from,
                       const std::string& to) override {
    const size_t slash = to.rfind('/');
    const size_t length = slash == std::string::npos ? 0 : slash + 1;
    if (from.compare(0, length, to, 0, length) != 0 ||
        from.find('/', length) != std::string::npos) {
      return ErrnoError(EXDEV, absl::StrCat(to, ": replace by ", from));
    }
    ASSIGN_OR_RETURN(const UniqueFd directory,
                     Locate(length == 0 ? "." : to.substr(0, length)));
    return ReplaceFile(directory.get(), from.substr(length), to.substr(length),
                       to);
  }

  absl::StatusOr<FileStat> Stat(const std::string& path) override {
    ASSIGN_OR_RETURN(const UniqueFd location, Locate(path));
    return StatLocation(location.get(), path);
  }

 private:
  static absl::StatusOr<UniqueFd> Locate(const std::string& path) {
    UniqueFd location(open(path.c_str(), O_PATH | O_CLOEXEC));
    if (!location.valid()) {
      return ErrnoError(errno, absl::StrCat(path, ": open"));
    }
    return location;
  }
};

}  // namespace

FileSystem& PosixFileSystem() {
  // Never destroyed: files may be opened while the process ends.
  static auto* const kFileSystem = new UnconfinedFileSystem;
  return *kFileSystem;
}

}  // namespace flatcow
