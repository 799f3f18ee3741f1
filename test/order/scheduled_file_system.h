// SPDX-License-Identifier: Apache-2.0
//
// Files in memory whose operations are yield points, and that remember what a
// power cut would leave: each file as it was when it was synced last.
#ifndef FLATCOW_TEST_ORDER_SCHEDULED_FILE_SYSTEM_H_
#define FLATCOW_TEST_ORDER_SCHEDULED_FILE_SYSTEM_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "flatcow/file.h"
#include "support/memory_file_system.h"

namespace flatcow::order {

using FileContents = std::map<std::string, std::shared_ptr<const std::string>>;

// Files that hold `contents`.
std::unique_ptr<MemoryFileSystem> FilesOf(const FileContents& contents);

class ScheduledFileSystem final : public FileSystem {
 public:
  // `contents` is durable.
  explicit ScheduledFileSystem(FileContents contents);

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             Access access) override;
  absl::StatusOr<std::unique_ptr<File>> Create(
      const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status Replace(const std::string& from, const std::string& to) override;
  absl::StatusOr<FileStat> Stat(const std::string& path) override {
    return files_->Stat(path);
  }

  const FileContents& durable() const { return durable_; }

  // Called after each sync.
  void SetSyncHook(std::function<void()> hook) { sync_hook_ = std::move(hook); }

 private:
  friend class ScheduledFile;

  void NoteSync(const std::string& path);
  std::unique_ptr<File> Wrap(std::unique_ptr<File> file);

  FileContents durable_;
  std::unique_ptr<MemoryFileSystem> files_;
  std::function<void()> sync_hook_;
};

}  // namespace flatcow::order

#endif  // FLATCOW_TEST_ORDER_SCHEDULED_FILE_SYSTEM_H_
