// SPDX-License-Identifier: Apache-2.0
//
// An image in use: opened, read, written, checked, repaired and opened again,
// as a fuzzer's input says.
#ifndef FLATCOW_TEST_FUZZ_IMAGE_SESSION_H_
#define FLATCOW_TEST_FUZZ_IMAGE_SESSION_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "flatcow/extent.h"
#include "flatcow/image.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/guarded_file_system.h"
#include "fuzz/known_content.h"
#include "fuzz/repair_check.h"

namespace flatcow {

// While CheckImage() calls the image clean, what was written is what is read.
class ImageSession {
 public:
  // `files` must outlive this.
  ImageSession(GuardedFileSystem& files, std::string path)
      : files_(files), path_(std::move(path)) {}
  ~ImageSession();

  // The image is what the library itself made of `content`: nothing may fail.
  void ExpectNoFailure(absl::Span<const uint8_t> content);

  // Opens the image and goes on until the input is used up.
  void Run(FuzzInput& input);

 private:
  Extent TakeExtent(FuzzInput& input);

  void Reopen(uint8_t how);
  // Nobody knows what a damaged image will show after a write.
  void LookAtImage();
  void Check(Repair repair);

  void OneOperation(FuzzInput& input);
  void Read(Extent extent);
  void ReadAll();
  void Write(Extent extent, uint64_t tag);
  void Zero(Extent extent);
  void Discard(Extent extent);
  void Allocate(Extent extent);
  void Map(Extent extent);
  void Grow(uint64_t more);
  void Flush();

  // After an operation that changes `extent` only.
  void Note(const absl::Status& status, Extent extent);

  GuardedFileSystem& files_;
  const std::string path_;
  std::unique_ptr<Image> image_;
  KnownContent known_;
  bool sound_ = false;  // known_ holds
  bool perfect_ = false;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_FUZZ_IMAGE_SESSION_H_
