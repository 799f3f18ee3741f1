// SPDX-License-Identifier: Apache-2.0
#include "support/page_cache_file_system.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "support/file_wrapper.h"

namespace flatcow {

class PageCacheFile final : public FileWrapper {
 public:
  PageCacheFile(std::unique_ptr<File> file, PageCacheFileSystem& cache)
      : FileWrapper(std::move(file)), cache_(cache) {}

  absl::Status Sync() override {
    absl::Status status = wrapped().Sync();
    if (status.ok()) {
      cache_.SyncWorked(path());
    } else {
      cache_.SyncFailed(path());
    }
    return status;
  }

  absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const override {
    ASSIGN_OR_RETURN(std::unique_ptr<File> file, wrapped().Reopen(access));
    return std::make_unique<PageCacheFile>(std::move(file), cache_);
  }

 private:
  PageCacheFileSystem& cache_;
};

PageCacheFileSystem::PageCacheFileSystem(FileSystem& files,
                                         MemoryFileSystem& memory,
                                         uint64_t seed)
    : files_(files), memory_(memory), random_(seed) {}
PageCacheFileSystem::~PageCacheFileSystem() = default;

absl::StatusOr<std::unique_ptr<File>> PageCacheFileSystem::Open(
    const std::string& path, Access access) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, files_.Open(path, access));
  Remember(file->path());
  return std::make_unique<PageCacheFile>(std::move(file), *this);
}

absl::StatusOr<std::unique_ptr<File>> PageCacheFileSystem::Create(
    const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, files_.Create(path));
  Remember(file->path());
  return std::make_unique<PageCacheFile>(std::move(file), *this);
}

absl::Status PageCacheFileSystem::Remove(const std::string& path) {
  return files_.Remove(path);
}

absl::Status PageCacheFileSystem::Replace(const std::string& from,
                                          const std::string& to) {
  RETURN_IF_ERROR(files_.Replace(from, to));
  MutexLock lock(mutex_);
  auto moved = on_disk_.extract(from);
  if (!moved.empty()) on_disk_[to] = std::move(moved.mapped());
  return absl::OkStatus();
}

absl::StatusOr<FileStat> PageCacheFileSystem::Stat(const std::string& path) {
  return files_.Stat(path);
}

void PageCacheFileSystem::LosePower() {
  MutexLock lock(mutex_);
  for (const auto& [path, contents] : on_disk_) {
    memory_.SetContents(path, contents);
  }
}

void PageCacheFileSystem::Remember(const std::string& path) {
  MutexLock lock(mutex_);
  const auto [entry, inserted] = on_disk_.try_emplace(path);
  if (inserted) entry->second = memory_.Contents(path);
}

void PageCacheFileSystem::SyncWorked(const std::string& path) {
  MutexLock lock(mutex_);
  on_disk_[path] = memory_.Contents(path);
}

void PageCacheFileSystem::SyncFailed(const std::string& path) {
  constexpr size_t kPage = MemoryFileSystem::kPageBytes;
  MutexLock lock(mutex_);
  std::string contents = memory_.Contents(path);
  std::string& durable = on_disk_[path];
  durable.resize(contents.size(), '\0');
  // All are lost, none, or half of them.
  const uint64_t mode = random_() % 3;
  for (size_t at = 0; at < contents.size(); at += kPage) {
    if (mode == 0 || (mode == 2 && random_() % 2 == 0)) {
      const size_t length = std::min(kPage, contents.size() - at);
      contents.replace(at, length, durable, at, length);
    }
  }
  memory_.SetContents(path, contents);
  durable = std::move(contents);
}

}  // namespace flatcow
