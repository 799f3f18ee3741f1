// SPDX-License-Identifier: Apache-2.0
//
// Passes everything on to another file system and writes down what changes
// files or makes changes durable, so that a test can check the order, or build
// the disk that a power cut would have left.
//
//   MemoryFileSystem memory;
//   RecordingFileSystem files(memory);
//   ...
//   for (const FileOperation& operation : files.Operations()) ...
//
// Thread-safe.
#ifndef FLATCOW_TEST_SUPPORT_RECORDING_FILE_SYSTEM_H_
#define FLATCOW_TEST_SUPPORT_RECORDING_FILE_SYSTEM_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "flatcow/file.h"

namespace flatcow {

struct FileOperation {
  enum class Kind {
    kCreate,
    kRemove,
    kReplace,  // `data` is the name that the file had
    kWrite,
    kTruncate,  // `length` is the new size
    kAllocate,
    kZero,
    kSync,  // of a file; behind a kReplace, of the directory, too
  };

  Kind kind = Kind::kWrite;
  std::string path;
  uint64_t offset = 0;
  uint64_t length = 0;
  std::string data = {};  // of a write
  // How it ended: an errno, 0 for success, EINPROGRESS for a sync that runs.
  int error = 0;

  friend bool operator==(const FileOperation&, const FileOperation&) = default;
};

// "write /a.qed 4096+512", for messages of tests.
std::ostream& operator<<(std::ostream& out, const FileOperation& operation);

class RecordingFileSystem final : public FileSystem {
 public:
  using Hook = std::function<void(const FileOperation&)>;

  // `files` must outlive this, and this the files it opens.
  explicit RecordingFileSystem(FileSystem& files);
  ~RecordingFileSystem() override;

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             Access access) override;
  absl::StatusOr<std::unique_ptr<File>> Create(
      const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status Replace(const std::string& from, const std::string& to) override;
  absl::StatusOr<FileStat> Stat(const std::string& path) override;

  // In order. A sync stands where it began, all else where it ended: what
  // stands before a successful sync of the same file is durable once the sync
  // has ended.
  std::vector<FileOperation> Operations() const;
  // How many there are so far: where a test is.
  size_t Count() const;
  void Clear();

  // Called before each operation is passed on, with no lock held, so that a
  // test can hold a sync up. Null for none.
  void SetHook(Hook hook);

 private:
  friend class RecordingFile;

  // Records `operation` around `call`.
  absl::Status Record(FileOperation operation,
                      const std::function<absl::Status()>& call);

  FileSystem& files_;
  mutable Mutex mutex_;
  std::vector<std::shared_ptr<FileOperation>> operations_
      ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Hook> hook_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_SUPPORT_RECORDING_FILE_SYSTEM_H_
