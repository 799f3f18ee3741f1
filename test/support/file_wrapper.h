// SPDX-License-Identifier: Apache-2.0
//
// A File that passes everything on, for those that change a part of it. Only
// Reopen() is left open: a wrapper wraps that result too.
#ifndef FLATCOW_TEST_SUPPORT_FILE_WRAPPER_H_
#define FLATCOW_TEST_SUPPORT_FILE_WRAPPER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "flatcow/file.h"

namespace flatcow {

class FileWrapper : public File {
 public:
  explicit FileWrapper(std::unique_ptr<File> file)
      : File(file->path()), file_(std::move(file)) {}

  int Descriptor() const override { return file_->Descriptor(); }
  absl::StatusOr<FileStat> Stat() const override { return file_->Stat(); }
  absl::StatusOr<size_t> Read(uint64_t offset,
                              absl::Span<uint8_t> buffer) const override {
    return file_->Read(offset, buffer);
  }
  // ReadCached() is File's own: a test that changes Read() changes both.
  void WillNeed(Extent extent) const override { file_->WillNeed(extent); }
  absl::Status Write(uint64_t offset, absl::Span<const iovec> pieces) override {
    return file_->Write(offset, pieces);
  }
  absl::Status Sync() override { return file_->Sync(); }
  absl::Status Truncate(uint64_t size) override {
    return file_->Truncate(size);
  }
  absl::Status Allocate(Extent extent) override {
    return file_->Allocate(extent);
  }
  absl::Status Zero(Extent extent) override { return file_->Zero(extent); }
  absl::StatusOr<uint64_t> SeekData(uint64_t offset) const override {
    return file_->SeekData(offset);
  }
  absl::StatusOr<uint64_t> SeekHole(uint64_t offset) const override {
    return file_->SeekHole(offset);
  }
  absl::Status LockByte(uint64_t offset) override {
    return file_->LockByte(offset);
  }
  absl::Status UnlockByte(uint64_t offset) override {
    return file_->UnlockByte(offset);
  }
  absl::StatusOr<bool> IsByteLocked(uint64_t offset) const override {
    return file_->IsByteLocked(offset);
  }

 protected:
  File& wrapped() const { return *file_; }

 private:
  const std::unique_ptr<File> file_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_SUPPORT_FILE_WRAPPER_H_
