// SPDX-License-Identifier: Apache-2.0
//
// QED space that a failed write has filled in part, where it can't be cut off
// the file again: it is used by later writes, whatever it holds.
#include <gtest/gtest.h>

#include <string>

#include "flatcow/image.h"
#include "model/image_testing.h"
#include "support/fault_injection_file_system.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kTableReach = 1024 * kCluster;

class ReusedSpaceTest : public testing::Test {
 protected:
  void SetUp() override {
    Make(memory_, "/a.qed",
         {.format = "qed",
          .size = 2 * kTableReach,
          .cluster_size = kCluster,
          .table_size = 2});
    image_ = Must(OpenImage(files_, "/a.qed", Writable()));
    Write(0, PatternText(1, kCluster));
    FailAWrite();
  }

  void Write(uint64_t offset, const std::string& data) {
    WriteDisk(*image_, offset, data);
    Overwrite(content_, offset, data);
  }

  // Half of it is written, and the file keeps it.
  void FailAWrite() {
    files_.Inject({.kinds = kWriteFault, .partial = true});
    files_.Inject({.kinds = kTruncateFault, .nth = 2});
    const std::string data(4 * kCluster, '\xee');
    EXPECT_ANY_THROW(WriteDisk(*image_, 4 * kCluster, data));
    EXPECT_EQ(files_.Injected(), 2u);
    files_.Clear();
  }

  MemoryFileSystem memory_;
  FaultInjectionFileSystem files_{memory_};
  std::unique_ptr<Image> image_;
  std::string content_ = std::string(2 * kTableReach, '\0');
};

TEST_F(ReusedSpaceTest, DoesNotShowInAPartOfACluster) {
  Write(10 * kCluster + 700, "new");
  EXPECT_TRUE(Shows(*image_, content_));
}

TEST_F(ReusedSpaceTest, IsNeverATable) {
  Write(kTableReach, PatternText(2, kCluster));
  EXPECT_TRUE(Shows(*image_, content_));
  Must(image_->Flush());
  image_.reset();
  EXPECT_EQ(Must(CheckImage(memory_, "/a.qed", {})).corruptions, 0u);
}

}  // namespace
}  // namespace flatcow
