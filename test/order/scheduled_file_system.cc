// SPDX-License-Identifier: Apache-2.0
#include "order/scheduled_file_system.h"

#include <functional>
#include <utility>

#include "base/status_macros.h"
#include "order/scheduler.h"
#include "support/file_wrapper.h"

namespace flatcow::order {

// A file is to the scheduler: its size, its sectors, and one object more that
// each change reads and a sync writes, because syncs and changes do not commute
// while changes of different sectors do.
class ScheduledFile final : public FileWrapper {
 public:
  ScheduledFile(std::unique_ptr<File> file, ScheduledFileSystem& files)
      : FileWrapper(std::move(file)),
        files_(files),
        size_object_((std::hash<std::string>()(path()) | 1) << 40),
        changes_object_(size_object_ + 1) {}

 private:
  template <typename Note, typename Call>
  auto Do(const Note& note, const Call& call) const {
    Pause();
    note();
    auto result = [&] {
      const Quiet inside;
      return call();
    }();
    Pause();
    return result;
  }

 public:
  absl::StatusOr<size_t> Read(uint64_t offset,
                              absl::Span<uint8_t> buffer) const override {
    return Do(
        [&] {
          Touch(size_object_, false);
          TouchSectors({offset, buffer.size()}, false);
        },
        [&] { return wrapped().Read(offset, buffer); });
  }

  absl::Status Write(uint64_t offset, absl::Span<const iovec> pieces) override {
    uint64_t length = 0;
    for (const iovec& piece : pieces) length += piece.iov_len;
    return Do(
        [&] {
          TouchChange({offset, length});
        },
        [&] { return wrapped().Write(offset, pieces); });
  }

  absl::Status Truncate(uint64_t size) override {
    return Do(
        [&] {
          Touch(size_object_, true);
          Touch(changes_object_, false);
        },
        [&] { return wrapped().Truncate(size); });
  }

  absl::Status Allocate(Extent extent) override {
    return Do([&] { TouchChange(extent); },
              [&] { return wrapped().Allocate(extent); });
  }

  absl::Status Zero(Extent extent) override {
    return Do([&] { TouchChange(extent); },
              [&] { return wrapped().Zero(extent); });
  }

  absl::Status Sync() override {
    return Do(
        [&] {
          Touch(size_object_, false);
          Touch(changes_object_, true);
        },
        [&] {
          const absl::Status status = wrapped().Sync();
          if (status.ok()) files_.NoteSync(path());
          return status;
        });
  }

  absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const override {
    ASSIGN_OR_RETURN(std::unique_ptr<File> file, wrapped().Reopen(access));
    return files_.Wrap(std::move(file));
  }

 private:
  void TouchChange(Extent extent) const {
    const uint64_t size = [&] {
      const Quiet inside;
      return wrapped().Stat().value_or(FileStat()).size;
    }();
    Touch(size_object_, extent.end() > size);
    Touch(changes_object_, false);
    TouchSectors(extent, true);
  }

  void TouchSectors(Extent extent, bool writes) const {
    constexpr uint64_t kSector = 512;
    if (extent.length == 0) return;
    for (uint64_t sector = extent.offset / kSector;
         sector <= (extent.end() - 1) / kSector; ++sector) {
      Touch(size_object_ + 2 + sector, writes);
    }
  }

  ScheduledFileSystem& files_;
  const uint64_t size_object_;
  const uint64_t changes_object_;
};

std::unique_ptr<MemoryFileSystem> FilesOf(const FileContents& contents) {
  auto files = std::make_unique<MemoryFileSystem>();
  for (const auto& [path, content] : contents) {
    files->SetContents(path, *content);
  }
  return files;
}

ScheduledFileSystem::ScheduledFileSystem(FileContents contents)
    : durable_(std::move(contents)), files_(FilesOf(durable_)) {}

void ScheduledFileSystem::NoteSync(const std::string& path) {
  durable_[path] = std::make_shared<const std::string>(files_->Contents(path));
  if (sync_hook_ != nullptr) sync_hook_();
}

std::unique_ptr<File> ScheduledFileSystem::Wrap(std::unique_ptr<File> file) {
  return std::make_unique<ScheduledFile>(std::move(file), *this);
}

absl::StatusOr<std::unique_ptr<File>> ScheduledFileSystem::Open(
    const std::string& path, flatcow::Access access) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, files_->Open(path, access));
  return Wrap(std::move(file));
}

absl::StatusOr<std::unique_ptr<File>> ScheduledFileSystem::Create(
    const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, files_->Create(path));
  return Wrap(std::move(file));
}

absl::Status ScheduledFileSystem::Remove(const std::string& path) {
  return files_->Remove(path);
}

absl::Status ScheduledFileSystem::Replace(const std::string& from,
                                          const std::string& to) {
  RETURN_IF_ERROR(files_->Replace(from, to));
  auto moved = durable_.extract(from);
  if (!moved.empty()) durable_[to] = std::move(moved.mapped());
  return absl::OkStatus();
}

}  // namespace flatcow::order
