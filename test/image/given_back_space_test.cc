// SPDX-License-Identifier: Apache-2.0
//
// QED: space that a failed write has filled in part and that could not be cut
// off the file is used again, and none of its bytes show.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "flatcow/image.h"
#include "flatcow/status.h"
#include "model/image_testing.h"
#include "support/fault_injection_file_system.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kTableReach = 4 << 20;

class GivenBackSpaceTest : public testing::Test {
 protected:
  void SetUp() override {
    Make(files_, "/a",
         {.format = "qed",
          .size = 2 * kTableReach,
          .cluster_size = kCluster,
          .table_size = 2});
    image_ = Must(OpenImage(faults_, "/a", Writable()));
    WriteDisk(*image_, 0, "a table");
    FailToWrite();
  }

  // Leaves four clusters of space behind, half of them full of bytes.
  void FailToWrite() {
    faults_.Inject({.kinds = kWriteFault, .partial = true});
    faults_.Inject({.kinds = kTruncateFault, .nth = 2});
    const std::string data = PatternText(9, 4 * kCluster);
    EXPECT_FALSE(image_
                     ->Write(16 * kCluster,
                             absl::MakeConstSpan(
                                 reinterpret_cast<const uint8_t*>(data.data()),
                                 data.size()))
                     .ok());
    faults_.Clear();
    size_ = Must(files_.Stat("/a")).size;
  }

  MemoryFileSystem files_;
  FaultInjectionFileSystem faults_{files_};
  std::unique_ptr<Image> image_;
  uint64_t size_ = 0;
};

TEST_F(GivenBackSpaceTest, IsFilledWithZeroesAroundASmallWrite) {
  const uint64_t at = 100 * kCluster;
  for (uint64_t i = 0; i < 4; ++i) {
    WriteDisk(*image_, at + i * kCluster + 50, "small");
  }
  EXPECT_EQ(Must(files_.Stat("/a")).size, size_);
  for (uint64_t i = 0; i < 4; ++i) {
    std::string expected(kCluster, '\0');
    Overwrite(expected, 50, "small");
    EXPECT_TRUE(ReadDisk(*image_, {at + i * kCluster, kCluster}) == expected);
  }
}

TEST_F(GivenBackSpaceTest, IsNoPlaceForATable) {
  WriteDisk(*image_, kTableReach, "small");
  EXPECT_EQ(ReadDisk(*image_, {kTableReach, 5}), "small");
  EXPECT_EQ(ReadDisk(*image_, {kTableReach + kCluster, kCluster}),
            std::string(kCluster, '\0'));
}

}  // namespace
}  // namespace flatcow
