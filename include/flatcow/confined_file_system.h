// SPDX-License-Identifier: Apache-2.0
//
// A file system that opens nothing outside the directories it was given, for
// a daemon that opens names it found inside images.
//
//   auto files = ConfinedFileSystem::Open({"/srv/overlays", "/srv/golden"});
//   mount(...);
//   (*files)->ExcludeDevice(device_of_the_mount);
//   (*files)->Open("/srv/overlays/web/vm1.qed", Access::kReadOnly);
//
// The root directories are held as descriptors from Open() on, and a name that
// begins with a root's resolved path is looked up from that descriptor: a
// mount that later covers a root does not hide it.
//
// Names are walked component by component, links included, and the walk stops
// with ELOOP before it would step into the excluded device: a daemon that
// looked a name up in its own mount would wait for itself. The file found must
// lie, by its resolved path, inside a root (else EACCES, the message names the
// option `-o allow=DIR` that would permit it) and must be a regular file or
// block device (else EACCES). It is then reopened by descriptor, so nothing can
// be exchanged between the look and the open.
#ifndef FLATCOW_CONFINED_FILE_SYSTEM_H_
#define FLATCOW_CONFINED_FILE_SYSTEM_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "flatcow/file.h"

namespace flatcow {

struct WalkRoot;
class UniqueFd;

class ConfinedFileSystem final : public FileSystem {
 public:
  // Opens the root directories. Errors: those of open(2).
  static absl::StatusOr<std::unique_ptr<ConfinedFileSystem>> Open(
      const std::vector<std::string>& roots);
  ~ConfinedFileSystem() override;

  // The resolved path and the descriptor (O_RDONLY|O_DIRECTORY, owned by this)
  // of the root given at `index`.
  const std::string& root_path(size_t index) const;
  int root_descriptor(size_t index) const;

  // From now on no walk enters the file system with this st_dev.
  void ExcludeDevice(uint64_t device) { excluded_device_.store(device); }

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             Access access) override;
  absl::StatusOr<std::unique_ptr<File>> Create(
      const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<File>> CreateUnnamed(
      const std::string& directory) override;
  absl::Status Replace(const std::string& from, const std::string& to) override;
  absl::StatusOr<FileStat> Stat(const std::string& path) override;

 private:
  explicit ConfinedFileSystem(std::vector<WalkRoot> roots);

  absl::StatusOr<UniqueFd> Walk(absl::string_view path) const;
  // EACCES unless `location` lies inside a root; `path` is what the message
  // calls it. Both are resolved.
  absl::Status CheckInside(absl::string_view location,
                           absl::string_view path) const;
  // The directory that `path` names an entry of, and that entry's name. The
  // directory lies inside a root. `operation` is for messages.
  absl::StatusOr<std::pair<UniqueFd, std::string>> Parent(
      absl::string_view path, absl::string_view operation) const;
  // The file that `path` leads to and its resolved path, inside a root.
  absl::StatusOr<std::pair<UniqueFd, std::string>> Locate(
      absl::string_view path) const;

  const std::vector<WalkRoot> roots_;
  std::atomic<uint64_t> excluded_device_{0};
};

}  // namespace flatcow

#endif  // FLATCOW_CONFINED_FILE_SYSTEM_H_
