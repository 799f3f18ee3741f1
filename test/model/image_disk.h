// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_MODEL_IMAGE_DISK_H_
#define FLATCOW_TEST_MODEL_IMAGE_DISK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "flatcow/image.h"
#include "model/disk_model.h"

namespace flatcow {

// An open image of the library; those below say how it is opened.
class OpenedDisk : public TestedDisk {
 public:
  explicit OpenedDisk(std::unique_ptr<Image> image)
      : image_(std::move(image)) {}

  absl::Status Read(uint64_t offset, absl::Span<uint8_t> buffer) override {
    return Whole(image_->Read(offset, buffer), buffer.size());
  }
  absl::Status Write(uint64_t offset, absl::Span<const uint8_t> data) override {
    return Whole(image_->Write(offset, data), data.size());
  }
  absl::Status Zero(Extent extent) override {
    return image_->WriteZeroes(extent);
  }
  absl::Status Allocate(Extent extent) override {
    return image_->Allocate(extent);
  }
  absl::Status Grow(uint64_t new_size) override {
    return image_->Resize(new_size);
  }
  absl::Status Flush() override { return image_->Flush(); }
  // Nothing of it would be left.
  absl::Status Reopen() override { return absl::OkStatus(); }
  uint64_t Size() override { return image_->Size(); }

 protected:
  std::unique_ptr<Image> image_;

 private:
  static absl::Status Whole(const absl::StatusOr<size_t>& done, size_t asked) {
    if (!done.ok()) return done.status();
    if (*done == asked) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("only ", *done, " bytes"));
  }
};

// A file that is an image, opened for writing.
class ImageDisk final : public OpenedDisk {
 public:
  // `files` must outlive this. Nothing is opened yet.
  ImageDisk(FileSystem& files, std::string path,
            std::shared_ptr<MetadataCache> cache)
      : OpenedDisk(nullptr),
        files_(files),
        path_(std::move(path)),
        cache_(std::move(cache)) {}

  absl::Status Open() {
    // Every second time by way of a read-only open.
    const bool upgrade = ++opens_ % 2 == 0;
    auto image =
        OpenImage(files_, path_,
                  {.access = upgrade ? Access::kReadOnly : Access::kReadWrite,
                   .metadata_cache = cache_});
    if (!image.ok()) return image.status();
    image_ = *std::move(image);
    return upgrade ? image_->MakeWritable() : absl::OkStatus();
  }
  void Close() { image_.reset(); }

  absl::Status Reopen() override {
    Close();
    return Open();
  }

 private:
  FileSystem& files_;
  const std::string path_;
  const std::shared_ptr<MetadataCache> cache_;
  int opens_ = 0;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_MODEL_IMAGE_DISK_H_
