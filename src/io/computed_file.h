// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_IO_COMPUTED_FILE_H_
#define FLATCOW_IO_COMPUTED_FILE_H_

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "flatcow/file.h"
#include "flatcow/status.h"

namespace flatcow {

// A file whose bytes are worked out when they are read, of which nothing else
// can be asked.
class ComputedFile : public File {
 public:
  explicit ComputedFile(std::string path) : File(std::move(path)) {}

  bool IsHostFile() const override { return false; }

  absl::StatusOr<FileStat> Stat() const override { return Refusal(); }
  absl::Status Write(uint64_t, absl::Span<const iovec>) override {
    return Refusal();
  }
  absl::Status Sync() override { return Refusal(); }
  absl::Status Truncate(uint64_t) override { return Refusal(); }
  absl::Status Allocate(Extent) override { return Refusal(); }
  absl::Status Zero(Extent) override { return Refusal(); }
  absl::StatusOr<uint64_t> SeekData(uint64_t) const override {
    return Refusal();
  }
  absl::StatusOr<uint64_t> SeekHole(uint64_t) const override {
    return Refusal();
  }
  absl::StatusOr<std::unique_ptr<File>> Reopen(Access) const override {
    return Refusal();
  }
  absl::Status LockByte(uint64_t) override { return Refusal(); }
  absl::Status UnlockByte(uint64_t) override { return Refusal(); }
  absl::StatusOr<bool> IsByteLocked(uint64_t) const override {
    return Refusal();
  }

 private:
  absl::Status Refusal() const {
    return MakeError(EROFS, absl::StrCat(path(), ": can only be read"));
  }
};

}  // namespace flatcow

#endif  // FLATCOW_IO_COMPUTED_FILE_H_
