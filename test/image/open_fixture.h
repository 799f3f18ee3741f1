// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_IMAGE_OPEN_FIXTURE_H_
#define FLATCOW_TEST_IMAGE_OPEN_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "flatcow/image.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"

namespace flatcow {

inline constexpr uint64_t kCluster = 4096;

// Images over /base, 16 clusters of it.
class OpenTest : public testing::Test {
 protected:
  OpenTest() { files_.SetContents("/base", base_); }

  std::unique_ptr<Image> Open(const std::string& path,
                              Access access = Access::kReadOnly) {
    return Must(OpenImage(files_, path, {.access = access}));
  }
  absl::Status TryOpen(const std::string& path, Access access) {
    return OpenImage(files_, path, {.access = access}).status();
  }

  void MakeQed(const std::string& path, uint64_t size,
               const std::string& backing = "base") {
    Make(files_, path,
         {.format = "qed",
          .size = size,
          .backing_file = backing,
          .backing_format = backing.empty() ? "" : "raw",
          .cluster_size = kCluster,
          .table_size = 2});
  }
  void MakeAddCow(const std::string& path, uint64_t size,
                  const std::string& image_file = "data",
                  const std::string& backing = "base") {
    Make(files_, path,
         {.format = "add-cow",
          .size = size,
          .backing_file = backing,
          .backing_format = backing.empty() ? "" : "raw",
          .cluster_size = kCluster,
          .data_file = image_file});
  }

  // base, cut off or filled up with zeroes.
  std::string BaseOf(uint64_t size) const {
    std::string content = base_;
    content.resize(size, '\0');
    return content;
  }

  const std::string base_ = PatternText(1, 16 * kCluster);
  MemoryFileSystem files_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_IMAGE_OPEN_FIXTURE_H_
