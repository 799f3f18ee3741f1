// SPDX-License-Identifier: Apache-2.0
//
// Files of which only some may be written, on a disk with little space.
#ifndef FLATCOW_TEST_FUZZ_GUARDED_FILE_SYSTEM_H_
#define FLATCOW_TEST_FUZZ_GUARDED_FILE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/file.h"

namespace flatcow {

// Opening any other file for writing is a finding. Once `space_bytes` have been
// written, writes fail with ENOSPC: what an image costs in memory stays bounded
// whatever its headers claim.
class GuardedFileSystem final : public FileSystem {
 public:
  // `files` must outlive this.
  GuardedFileSystem(FileSystem& files, uint64_t space_bytes);
  ~GuardedFileSystem() override;

  // Only these may be written from now on; resolved paths.
  void Permit(std::set<std::string> paths);

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             Access access) override;
  absl::StatusOr<std::unique_ptr<File>> Create(
      const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status Replace(const std::string& from, const std::string& to) override;
  absl::StatusOr<FileStat> Stat(const std::string& path) override;

 private:
  friend class GuardedFile;

  absl::StatusOr<std::unique_ptr<File>> Guard(
      absl::StatusOr<std::unique_ptr<File>> file, Access access);
  // Errors: ENOSPC.
  absl::Status Spend(const File& file, uint64_t bytes);

  FileSystem& files_;
  std::set<std::string> permitted_;
  uint64_t space_left_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_FUZZ_GUARDED_FILE_SYSTEM_H_
