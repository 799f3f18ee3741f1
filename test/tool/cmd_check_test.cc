// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr uint64_t kCluster = 65536;
constexpr uint64_t kL1 = kCluster;  // where a new QED image has its L1 table

RunResult Check(const std::string& line) {
  return Tool(Words("check " + line));
}

class CheckTest : public ToolTest {
 protected:
  // A QED image with two leaked clusters at its end.
  static void MakeLeaky(const std::string& name) {
    Done("create -q -f qed " + name + " 10M");
    const uint64_t size = std::filesystem::file_size(name);
    std::filesystem::resize_file(
        name, (size + kCluster - 1) / kCluster * kCluster + 2 * kCluster);
  }

  // A QED image with an L1 entry that points behind the end.
  static void MakeCorrupt(const std::string& name) {
    Done("create -q -f qed " + name + " 10M");
    Poke(name, kL1, uint64_t{1} << 40);
  }
};

// The same images for both programs. bad: an L1 entry behind the end; leak:
// two clusters nothing refers to.
class CheckQemuTest : public QemuTest {
 protected:
  void SetUp() override {
    QemuTest::SetUp();
    if (IsSkipped()) return;
    Qemu("create -q -f qed good.qed 10M");
    QemuIo("qed", "good.qed", "write 0 64k");
    QemuIo("qed", "good.qed", "write 1M 128k");
    std::filesystem::copy_file("good.qed", "leak.qed");
    std::filesystem::resize_file(
        "leak.qed", std::filesystem::file_size("leak.qed") + 2 * kCluster);
    std::filesystem::copy_file("good.qed", "bad.qed");
    Poke("bad.qed", kL1 + 8, uint64_t{1} << 50);
    std::filesystem::copy_file("bad.qed", "both.qed");
    std::filesystem::resize_file(
        "both.qed", std::filesystem::file_size("both.qed") + kCluster);
    Qemu("create -q -f qed empty.qed 64M");
    MakeRaw("base.raw", 1 << 20, 4096);
    Qemu("create -q -f qed -b base.raw -F raw over.qed 3M");
    QemuIo("qed", "over.qed", "write 100k 300k");
    QemuIo("qed", "over.qed", "write -z 1M 64k");
  }
};

TEST_F(CheckTest, ACleanImage) {
  Done("create -q -f qed a 10M");
  const RunResult result = Check("a");
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out, "No errors were found on the image.\n");
  EXPECT_EQ(result.err, "");
}

TEST_F(CheckTest, LeaksAreExitCode3) {
  MakeLeaky("a");
  const RunResult result = Check("a");
  EXPECT_EQ(result.code, 3);
  EXPECT_EQ(result.out,
            "\n2 leaked clusters were found on the image.\n"
            "This means waste of disk space, but no harm to data.\n");
  EXPECT_NE(result.err, "");
}

TEST_F(CheckTest, CorruptionIsExitCode2) {
  MakeCorrupt("a");
  const RunResult result = Check("a");
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.out,
            "\n1 errors were found on the image.\n"
            "Data may be corrupted, or further writes to the image may corrupt "
            "it.\n");
  EXPECT_NE(result.err, "");
}

TEST_F(CheckTest, WithoutRepairNothingIsWritten) {
  MakeLeaky("leaky");
  const uint64_t size = std::filesystem::file_size("leaky");
  Check("leaky");
  EXPECT_EQ(std::filesystem::file_size("leaky"), size);
  MakeCorrupt("corrupt");
  Check("corrupt");
  EXPECT_EQ(Peek("corrupt", kL1), uint64_t{1} << 40);
}

TEST_F(CheckTest, RepairOfLeaks) {
  MakeLeaky("a");
  const RunResult result = Check("-r leaks a");
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out,
            "The following inconsistencies were found and repaired:\n\n"
            "    2 leaked clusters\n"
            "    0 corruptions\n\n"
            "Double checking the fixed image now...\n"
            "No errors were found on the image.\n");
  EXPECT_EQ(Check("a").code, 0);
}

TEST_F(CheckTest, RepairOfLeaksLeavesCorruptionAlone) {
  MakeCorrupt("a");
  EXPECT_EQ(Check("-r leaks a").code, 2);
  EXPECT_EQ(Peek("a", kL1), uint64_t{1} << 40);
}

TEST_F(CheckTest, RepairOfAllListsWhatChanged) {
  MakeCorrupt("a");
  std::filesystem::copy_file("a", "b");
  const RunResult result = Check("-r all a");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("    0 leaked clusters\n"
                                    "    1 corruptions\n\n"
                                    "Changed by the repair:\n\n    "));
  EXPECT_THAT(result.out, HasSubstr("No errors were found on the image.\n"));
  EXPECT_EQ(Peek("a", kL1), 0u);

  const RunResult json = Check("-r all --output=json b");
  EXPECT_EQ(json.code, 0);
  EXPECT_EQ(json.Json()["corruptions-fixed"], 1);
  EXPECT_EQ(json.Json()["changed"].size(), 1u);
}

TEST_F(CheckTest, QuietPrintsNoSummary) {
  MakeLeaky("a");
  EXPECT_EQ(Check("-q a").code, 3);
  EXPECT_EQ(Check("-q a").out, "");
  EXPECT_EQ(Check("-q --output=json a").out, "");
}

TEST_F(CheckTest, RawIsExitCode63) {
  MakeRaw("a", 1 << 20, 100);
  const RunResult result = Check("a");
  EXPECT_EQ(result.code, 63);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, StartsWith("flatcow-img: check: a: "));
}

TEST_F(CheckTest, AnUnknownFeatureIsExitCode1) {
  Done("create -q -f qed a 1M");
  Poke("a", 16, 0x100);
  EXPECT_EQ(Check("a").code, 1);
}

TEST_F(CheckTest, WhatCannotBeOpenedIsExitCode1) {
  EXPECT_THAT(Refused("check missing"),
              StartsWith("flatcow-img: check: missing: "));
}

TEST_F(CheckTest, AMissingBackingFileIsAWarning) {
  Done("create -q -u -f qed -b missing -F raw a 1M");
  const RunResult result = Check("a");
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.err, StartsWith("flatcow-img: warning: "));
  EXPECT_THAT(result.err, HasSubstr("missing"));
}

TEST_F(CheckTest, AddCow) {
  MakeRaw("base", 1 << 20, 100);
  Done("create -q -f add-cow -b base -F raw -o image_file=i a");
  const RunResult result = Check("--output=json a");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.Json()["format"], "add-cow");
  EXPECT_EQ(result.Json()["total-clusters"], 16);
  EXPECT_EQ(result.Json()["check-errors"], 0);
}

TEST_F(CheckTest, RepairTakesOneOfTwoWordsAndNoForceShare) {
  EXPECT_THAT(Refused("check -r foo a"), HasSubstr("leaks or all, not 'foo'"));
  EXPECT_THAT(Refused("check -r none a"), HasSubstr("not 'none'"));
  EXPECT_THAT(Refused("check -U -r all a"), HasSubstr("-r"));
}

TEST_F(CheckQemuTest, OutputAndExitCodeAreQemus) {
  for (const std::string file : {"good.qed", "leak.qed", "bad.qed", "both.qed",
                                 "empty.qed", "over.qed"}) {
    for (const std::string option : {"", "-q ", "--output=json "}) {
      const std::string line = absl::StrCat(option, file);
      SCOPED_TRACE(line);
      const RunResult qemu =
          RunProgram("qemu-img", Words(absl::StrCat("check ", line)));
      const RunResult ours = Check(line);
      EXPECT_EQ(ours.code, qemu.code);
      EXPECT_EQ(ours.out, qemu.out);
    }
  }
  EXPECT_EQ(RunProgram("qemu-img", Words("check base.raw")).code, 63);
}

TEST_F(CheckQemuTest, RepairedCorruptionIsQemus) {
  std::filesystem::copy_file("bad.qed", "mine");
  std::filesystem::rename("bad.qed", "disk");
  const RunResult qemu =
      RunProgram("qemu-img", Words("check -r all --output=json disk"));
  std::filesystem::rename("mine", "disk");
  const RunResult ours = Check("-r all --output=json disk");
  EXPECT_EQ(ours.code, qemu.code);
  nlohmann::json json = ours.Json();
  json.erase("changed");
  EXPECT_EQ(json, qemu.Json());
}

TEST_F(CheckQemuTest, QemuFindsNothingAfterRepair) {
  for (const std::string file : {"leak.qed", "bad.qed", "both.qed"}) {
    EXPECT_EQ(Check("-r all " + file).code, 0) << file;
    Qemu("check " + file);
  }
}

}  // namespace
}  // namespace flatcow::tool
