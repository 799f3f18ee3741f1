// SPDX-License-Identifier: Apache-2.0
//
// What tests of whole images share.
//
//   MemoryFileSystem files;
//   auto image = Must(OpenImage(files, "/a.qed", kWritable));
//   WriteDisk(*image, 4096, PatternText(1, 512));
//   EXPECT_TRUE(Fails(image->Resize(0), EPERM, "/a.qed"));
//   EXPECT_TRUE(IsClean(files, "/a.qed"));
#ifndef FLATCOW_TEST_MODEL_IMAGE_TESTING_H_
#define FLATCOW_TEST_MODEL_IMAGE_TESTING_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "flatcow/block_device.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"

namespace flatcow {

inline OpenOptions Writable() {
  OpenOptions options;
  options.access = Access::kReadWrite;
  return options;
}

// What a test needs in order to go on: ends it, failed, when it isn't OK.
inline void Must(const absl::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.ToString());
}
template <typename T>
T Must(absl::StatusOr<T> result) {
  Must(result.status());
  return *std::move(result);
}

// Did it fail with this errno, and does the message contain `text`?
testing::AssertionResult Fails(const absl::Status& status, int error_number,
                               absl::string_view text = "");
template <typename T>
testing::AssertionResult Fails(const absl::StatusOr<T>& result,
                               int error_number, absl::string_view text = "") {
  return Fails(result.status(), error_number, text);
}

// CreateOptions, to be written with designated initializers.
struct NewImage {
  std::string format = "raw";
  std::optional<uint64_t> size = {};
  std::string backing_file = {};
  std::string backing_format = {};
  uint32_t cluster_size = 0;
  uint32_t table_size = 0;
  std::string data_file = {};
  bool data_file_raw = false;
  uint32_t refcount_bits = 0;
};
CreateOptions OptionsOf(const NewImage& image);

// CreateImage; the test ends when it fails.
CreateResult Make(FileSystem& files, const std::string& path,
                  const NewImage& image);

// Whole requests; the test ends when one is not done entirely.
std::string ReadDisk(BlockDevice& disk, Extent extent);
std::string ReadDisk(BlockDevice& disk);  // all of it
void WriteDisk(BlockDevice& disk, uint64_t offset, absl::string_view data);

// The same for a file, which exists.
std::string ReadFile(FileSystem& files, const std::string& path);
void PokeFile(FileSystem& files, const std::string& path, uint64_t offset,
              absl::string_view data);

// Does the whole disk hold `content`? The answer names the first byte that
// differs.
testing::AssertionResult Shows(BlockDevice& disk, absl::string_view content);

// Does CheckImage find no corruption, leak or error?
testing::AssertionResult IsClean(FileSystem& files, const std::string& path);

// Pattern() as text.
std::string PatternText(uint64_t tag, uint64_t length);

// Integers as they stand in a file.
std::string Little32(uint32_t value);
std::string Little64(uint64_t value);

// One line a segment: "data +4096 @0 file 65536".
std::string Describe(const SegmentList& segments);

// Content over content: `data` replaces what is at `offset`, which must be
// there. Touches no other byte, so threads may share a string.
void Overwrite(std::string& content, uint64_t offset, absl::string_view data);

// Names and contents of all files, to see whether anything has changed.
class MemoryFileSystem;
std::vector<std::pair<std::string, std::string>> AllContents(
    const MemoryFileSystem& files);

}  // namespace flatcow

#endif  // FLATCOW_TEST_MODEL_IMAGE_TESTING_H_
