// SPDX-License-Identifier: Apache-2.0
#include "support/recording_file_system.h"

#include <cerrno>
#include <utility>

#include "base/status_macros.h"
#include "flatcow/status.h"
#include "support/file_wrapper.h"

namespace flatcow {
namespace {

using Kind = FileOperation::Kind;

const char* NameOf(Kind kind) {
  switch (kind) {
    case Kind::kCreate:
      return "create";
    case Kind::kRemove:
      return "remove";
    case Kind::kReplace:
      return "replace";
    case Kind::kWrite:
      return "write";
    case Kind::kTruncate:
      return "truncate";
    case Kind::kAllocate:
      return "allocate";
    case Kind::kZero:
      return "zero";
    case Kind::kSync:
      return "sync";
  }
  return "?";
}

std::string Joined(absl::Span<const iovec> pieces) {
  std::string data;
  for (const iovec& piece : pieces) {
    data.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  }
  return data;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const FileOperation& operation) {
  out << NameOf(operation.kind) << " " << operation.path << " "
      << operation.offset << "+" << operation.length;
  if (operation.error != 0) out << " (errno " << operation.error << ")";
  return out;
}

class RecordingFile final : public FileWrapper {
 public:
  RecordingFile(std::unique_ptr<File> file, RecordingFileSystem& recorder)
      : FileWrapper(std::move(file)), recorder_(recorder) {}

  absl::Status Write(uint64_t offset, absl::Span<const iovec> pieces) override {
    std::string data = Joined(pieces);
    const uint64_t length = data.size();
    return recorder_.Record(
        {Kind::kWrite, path(), offset, length, std::move(data)},
        [&] { return wrapped().Write(offset, pieces); });
  }

  absl::Status Sync() override {
    return recorder_.Record({Kind::kSync, path()},
                            [&] { return wrapped().Sync(); });
  }

  absl::Status Truncate(uint64_t size) override {
    return recorder_.Record({Kind::kTruncate, path(), 0, size},
                            [&] { return wrapped().Truncate(size); });
  }

  absl::Status Allocate(Extent extent) override {
    return recorder_.Record(
        {Kind::kAllocate, path(), extent.offset, extent.length},
        [&] { return wrapped().Allocate(extent); });
  }

  absl::Status Zero(Extent extent) override {
    return recorder_.Record({Kind::kZero, path(), extent.offset, extent.length},
                            [&] { return wrapped().Zero(extent); });
  }

  absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const override {
    ASSIGN_OR_RETURN(std::unique_ptr<File> file, wrapped().Reopen(access));
    return std::make_unique<RecordingFile>(std::move(file), recorder_);
  }

 private:
  RecordingFileSystem& recorder_;
};

RecordingFileSystem::RecordingFileSystem(FileSystem& files) : files_(files) {}
RecordingFileSystem::~RecordingFileSystem() = default;

absl::Status RecordingFileSystem::Record(
    FileOperation operation, const std::function<absl::Status()>& call) {
  const auto record = std::make_shared<FileOperation>(std::move(operation));
  std::shared_ptr<const Hook> hook;
  {
    MutexLock lock(mutex_);
    hook = hook_;
  }
  if (hook != nullptr) (*hook)(*record);
  if (record->kind == Kind::kSync) {
    MutexLock lock(mutex_);
    record->error = EINPROGRESS;
    operations_.push_back(record);
  }
  const absl::Status status = call();
  MutexLock lock(mutex_);
  record->error = ErrnoOf(status);
  if (record->kind != Kind::kSync) operations_.push_back(record);
  return status;
}

absl::StatusOr<std::unique_ptr<File>> RecordingFileSystem::Open(
    const std::string& path, Access access) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, files_.Open(path, access));
  return std::make_unique<RecordingFile>(std::move(file), *this);
}

absl::StatusOr<std::unique_ptr<File>> RecordingFileSystem::Create(
    const std::string& path) {
  std::unique_ptr<File> file;
  RETURN_IF_ERROR(Record({Kind::kCreate, path}, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(file, files_.Create(path));
    return absl::OkStatus();
  }));
  return std::make_unique<RecordingFile>(std::move(file), *this);
}

absl::Status RecordingFileSystem::Remove(const std::string& path) {
  return Record({Kind::kRemove, path}, [&] { return files_.Remove(path); });
}

// Recorded as two steps, because a power cut may come between them.
absl::Status RecordingFileSystem::Replace(const std::string& from,
                                          const std::string& to) {
  RETURN_IF_ERROR(Record({Kind::kReplace, to, 0, 0, from},
                         [&] { return files_.Replace(from, to); }));
  return Record({Kind::kSync, to}, [] { return absl::OkStatus(); });
}

absl::StatusOr<FileStat> RecordingFileSystem::Stat(const std::string& path) {
  return files_.Stat(path);
}

std::vector<FileOperation> RecordingFileSystem::Operations() const {
  MutexLock lock(mutex_);
  std::vector<FileOperation> result;
  for (const auto& operation : operations_) result.push_back(*operation);
  return result;
}

size_t RecordingFileSystem::Count() const {
  MutexLock lock(mutex_);
  return operations_.size();
}

void RecordingFileSystem::Clear() {
  MutexLock lock(mutex_);
  operations_.clear();
}

void RecordingFileSystem::SetHook(Hook hook) {
  MutexLock lock(mutex_);
  hook_ =
      hook == nullptr ? nullptr : std::make_shared<const Hook>(std::move(hook));
}

}  // namespace flatcow
