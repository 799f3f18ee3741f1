// SPDX-License-Identifier: Apache-2.0
#include "fuzz/guarded_file_system.h"

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "fuzz/fuzz_target.h"
#include "support/file_wrapper.h"

namespace flatcow {

class GuardedFile final : public FileWrapper {
 public:
  GuardedFile(std::unique_ptr<File> file, GuardedFileSystem& files)
      : FileWrapper(std::move(file)), files_(files) {}

  absl::Status Write(uint64_t offset, absl::Span<const iovec> pieces) override {
    uint64_t bytes = 0;
    for (const iovec& piece : pieces) bytes += piece.iov_len;
    RETURN_IF_ERROR(files_.Spend(*this, bytes));
    return wrapped().Write(offset, pieces);
  }

  absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const override {
    return files_.Guard(wrapped().Reopen(access), access);
  }

 private:
  GuardedFileSystem& files_;
};

GuardedFileSystem::GuardedFileSystem(FileSystem& files, uint64_t space_bytes)
    : files_(files), space_left_(space_bytes) {}
GuardedFileSystem::~GuardedFileSystem() = default;

void GuardedFileSystem::Permit(std::set<std::string> paths) {
  permitted_ = std::move(paths);
}

absl::Status GuardedFileSystem::Spend(const File& file, uint64_t bytes) {
  if (bytes > space_left_) {
    return ErrnoError(ENOSPC, absl::StrCat(file.path(), ": write"));
  }
  space_left_ -= bytes;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<File>> GuardedFileSystem::Guard(
    absl::StatusOr<std::unique_ptr<File>> file, Access access) {
  if (!file.ok()) return file.status();
  if (access == Access::kReadWrite && !permitted_.contains((*file)->path())) {
    FuzzFinding(absl::StrCat((*file)->path(), " is opened for writing"));
  }
  return std::make_unique<GuardedFile>(*std::move(file), *this);
}

absl::StatusOr<std::unique_ptr<File>> GuardedFileSystem::Open(
    const std::string& path, Access access) {
  return Guard(files_.Open(path, access), access);
}

absl::StatusOr<std::unique_ptr<File>> GuardedFileSystem::Create(
    const std::string& path) {
  FuzzFinding(absl::StrCat(path, " is created"));
}

absl::Status GuardedFileSystem::Remove(const std::string& path) {
  FuzzFinding(absl::StrCat(path, " is removed"));
}

absl::Status GuardedFileSystem::Replace(const std::string&,
                                        const std::string& to) {
  FuzzFinding(absl::StrCat(to, " is replaced"));
}

absl::StatusOr<FileStat> GuardedFileSystem::Stat(const std::string& path) {
  return files_.Stat(path);
}

}  // namespace flatcow
