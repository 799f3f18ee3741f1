// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr uint64_t kMiB = 1 << 20;

class RebaseTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    MakeRaw("base", 4 * kMiB, 2 * kMiB);
    std::filesystem::copy_file("base", "next");
    Poke("next", 500000, 7);
    Done("create -q -f qed -b base -F raw a");
    Fill("a", 100, 70000, 'x');
    disk_ = Disk("a");
  }

  static nlohmann::json Info() { return Done("info --output=json a").Json(); }

  std::string disk_;
};

TEST_F(RebaseTest, WhatTheDiskShowsStays) {
  EXPECT_EQ(Done("rebase -b next -F raw a").out, "");
  EXPECT_EQ(Info()["backing-filename"], "next");
  EXPECT_EQ(Info()["backing-filename-format"], "raw");
  EXPECT_EQ(Disk("a"), disk_);
}

TEST_F(RebaseTest, OntoNothing) {
  EXPECT_EQ(Tool({"rebase", "-b", "", "a"}).code, 0);
  EXPECT_FALSE(Info().contains("backing-filename"));
  std::filesystem::remove("base");
  EXPECT_EQ(Disk("a"), disk_);
}

TEST_F(RebaseTest, UnsafeOnlyRecordsTheName) {
  Done("rebase -u -b gone -F raw a");
  EXPECT_EQ(Info()["backing-filename"], "gone");
  Done("rebase -u -b next -F raw a");
  EXPECT_NE(Disk("a"), disk_);
  Done("rebase -u -b base -F raw a");
  EXPECT_EQ(Disk("a"), disk_);
}

TEST_F(RebaseTest, AMissingBackingFileIsNamed) {
  EXPECT_THAT(Refused("rebase -b gone -F raw a"), HasSubstr("gone"));
  EXPECT_EQ(Info()["backing-filename"], "base");
}

TEST_F(RebaseTest, ABackingFileMustBeNamed) {
  EXPECT_THAT(Refused("rebase a"), HasSubstr("no backing file was named: -b"));
  const RunResult result = Tool({"rebase", "-b", "", "-F", "raw", "a"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, HasSubstr("-F needs a backing file"));
}

TEST_F(RebaseTest, AnImageIsNotItsOwnBackingFile) {
  EXPECT_THAT(Refused("rebase -b a -F qed a"), StartsWith("flatcow-img: "));
}

TEST_F(RebaseTest, RawHasNoBackingFile) {
  EXPECT_THAT(Refused("rebase -b next base"), StartsWith("flatcow-img: "));
}

TEST_F(RebaseTest, AnInterruptionCanBeFinished) {
  const RunResult result =
      InterruptedTool({"rebase", "-p", "-b", "next", "-F", "raw", "a"});
  EXPECT_EQ(result.code, 128 + SIGINT) << result.err;
  EXPECT_EQ(result.err,
            "flatcow-img: rebase: a: interrupted: it shows the same disk, and "
            "the same command finishes the work\n");
  EXPECT_EQ(Disk("a"), disk_);
  Done("rebase -b next -F raw a");
  EXPECT_EQ(Disk("a"), disk_);
}

}  // namespace
}  // namespace flatcow::tool
