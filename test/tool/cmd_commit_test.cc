// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr uint64_t kMiB = 1 << 20;

class CommitTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    MakeRaw("base", 4 * kMiB, kMiB);
    Done("create -q -f qed -b base -F raw mid");
    Fill("mid", 2 * kMiB, 1000, 'm');
    Done("create -q -f qed -b mid -F qed a");
    Fill("a", 100, 70000, 'x');
    disk_ = Disk("a");
  }

  static int Allocated(const std::string& name) {
    return Done("check --output=json " + name)
        .Json()
        .value("allocated-clusters", 0);
  }

  std::string disk_;
};

TEST_F(CommitTest, IntoTheBackingFile) {
  EXPECT_EQ(Done("commit a").out, "Image committed.\n");
  EXPECT_EQ(Disk("mid"), disk_);
  EXPECT_EQ(Disk("a"), disk_);
  EXPECT_EQ(Allocated("a"), 0);
}

TEST_F(CommitTest, TheClustersCanBeKept) {
  EXPECT_EQ(Done("commit -q -d a").out, "");
  EXPECT_EQ(Disk("mid"), disk_);
  EXPECT_EQ(Allocated("a"), 2);
}

TEST_F(CommitTest, FurtherDown) {
  Done("commit -b base a");
  EXPECT_EQ(Disk("base"), disk_);
  EXPECT_EQ(Disk("a"), disk_);
  EXPECT_EQ(Allocated("a"), 2);
}

TEST_F(CommitTest, TheBaseMustBeInTheChain) {
  MakeRaw("other", 4 * kMiB, 0);
  EXPECT_THAT(Refused("commit -b other a"), HasSubstr("other"));
  EXPECT_THAT(Refused("commit -b gone a"), HasSubstr("gone"));
  EXPECT_THAT(Refused("commit base"), StartsWith("flatcow-img: commit: "));
}

TEST_F(CommitTest, AnInterruptionCanBeFinished) {
  const RunResult result = InterruptedTool({"commit", "-p", "a"});
  EXPECT_EQ(result.code, 128 + SIGINT) << result.err;
  EXPECT_EQ(result.err,
            "flatcow-img: commit: a: interrupted: it shows the same disk, and "
            "the same command finishes the work\n");
  EXPECT_EQ(Disk("a"), disk_);
  Done("commit a");
  EXPECT_EQ(Disk("mid"), disk_);
}

}  // namespace
}  // namespace flatcow::tool
