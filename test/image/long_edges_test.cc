// SPDX-License-Identifier: Apache-2.0
//
// Copy-on-write in clusters whose edges do not fit the buffer of a thread.
#include <gtest/gtest.h>

#include <string>

#include "flatcow/image.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

constexpr uint64_t kCluster = 2 << 20;

class LongEdgesTest : public testing::TestWithParam<std::string> {};

TEST_P(LongEdgesTest, BothAreCopied) {
  MemoryFileSystem files;
  std::string content = PatternText(1, 2 * kCluster);
  files.SetContents("/base", content);
  NewImage options{.format = GetParam(),
                   .size = content.size(),
                   .backing_file = "base",
                   .backing_format = "raw",
                   .cluster_size = kCluster};
  if (GetParam() == "qed") {
    options.table_size = 2;
  } else {
    options.data_file = "data";
    files.SetContents("/data", std::string(content.size(), '\xee'));
  }
  Make(files, "/top", options);
  const auto image = Must(OpenImage(files, "/top", Writable()));
  const std::string data = PatternText(2, 700);
  WriteDisk(*image, kCluster / 2 + 77, data);
  Overwrite(content, kCluster / 2 + 77, data);
  EXPECT_TRUE(Shows(*image, content));
}

INSTANTIATE_TEST_SUITE_P(Formats, LongEdgesTest,
                         testing::Values("add-cow", "qed"),
                         [](const auto& format) {
                           return format.param == "qed" ? "qed" : "addcow";
                         });

}  // namespace
}  // namespace flatcow
