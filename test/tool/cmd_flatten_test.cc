// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr uint64_t kMiB = 1 << 20;

class FlattenTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    MakeRaw("base", 4 * kMiB, 3 * kMiB);
    Done("create -q -f qed -b base -F raw a.qed");
    Done("create -q -f add-cow -b base -F raw -o image_file=i a.add-cow");
    Fill("a.qed", 100, 70000, 'x');
    Fill("a.add-cow", 100, 70000, 'x');
    disk_ = Disk("a.qed");
  }

  std::string disk_;
};

TEST_F(FlattenTest, QedStandsAlone) {
  EXPECT_EQ(Done("flatten a.qed").out,
            "Image flattened: it needs no backing file.\n");
  std::filesystem::remove("base");
  EXPECT_EQ(Disk("a.qed"), disk_);
  EXPECT_FALSE(
      Done("info --output=json a.qed").Json().contains("backing-filename"));
}

TEST_F(FlattenTest, TheImageFileOfAddCowIsTheDisk) {
  const std::string out = Done("flatten -f add-cow a.add-cow").out;
  EXPECT_THAT(out, StartsWith("Image flattened: it needs no backing file.\nThe "
                              "image file "));
  EXPECT_THAT(out, EndsWith(" is the whole disk, a plain raw disk.\n"));
  std::filesystem::remove("base");
  EXPECT_EQ(Disk("a.add-cow"), disk_);
  std::ifstream file("i", std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  EXPECT_EQ(bytes.str(), disk_);
}

TEST_F(FlattenTest, TwiceIsOnce) {
  Done("flatten -q a.qed");
  EXPECT_EQ(Done("flatten -q a.qed").out, "");
  EXPECT_EQ(Disk("a.qed"), disk_);
}

TEST_F(FlattenTest, RawHasNothingToFlatten) {
  EXPECT_THAT(Refused("flatten base"), StartsWith("flatcow-img: flatten: "));
}

TEST_F(FlattenTest, ProgressAndResult) {
  const std::string out = Done("flatten -p a.qed").out;
  EXPECT_THAT(out, StartsWith("    (0.00/100%)\r"));
  EXPECT_THAT(out, HasSubstr("(100.00/100%)\r\nImage flattened"));
}

TEST_F(FlattenTest, AnInterruptionCanBeFinished) {
  for (const std::string name : {"a.qed", "a.add-cow"}) {
    const RunResult result = InterruptedTool({"flatten", "-p", name});
    EXPECT_EQ(result.code, 128 + SIGINT) << result.err;
    EXPECT_EQ(result.err, "flatcow-img: flatten: " + name +
                              ": interrupted: it shows the same disk, and the "
                              "same command finishes the work\n");
    EXPECT_EQ(Disk(name), disk_);
    Done("flatten -q " + name);
    EXPECT_EQ(Disk(name), disk_);
  }
}

}  // namespace
}  // namespace flatcow::tool
