// SPDX-License-Identifier: Apache-2.0
//
// A FileSystem that passes everything on, for those that change a part of it.
#ifndef FLATCOW_TEST_SUPPORT_FILE_SYSTEM_WRAPPER_H_
#define FLATCOW_TEST_SUPPORT_FILE_SYSTEM_WRAPPER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/file.h"

namespace flatcow {

class FileSystemWrapper : public FileSystem {
 public:
  explicit FileSystemWrapper(FileSystem& files) : files_(files) {}

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             Access access) override {
    return files_.Open(path, access);
  }
  absl::StatusOr<std::unique_ptr<File>> Create(
      const std::string& path) override {
    return files_.Create(path);
  }
  absl::Status Remove(const std::string& path) override {
    return files_.Remove(path);
  }
  absl::Status Replace(const std::string& from,
                       const std::string& to) override {
    return files_.Replace(from, to);
  }
  absl::StatusOr<FileStat> Stat(const std::string& path) override {
    return files_.Stat(path);
  }

 protected:
  FileSystem& files_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_SUPPORT_FILE_SYSTEM_WRAPPER_H_
