// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr uint64_t kMiB = 1 << 20;

class ConvertTest : public ToolTest {
 protected:
  // base <- a.qed, and what that shows.
  void SetUp() override {
    ToolTest::SetUp();
    MakeRaw("base", 2 * kMiB, kMiB);
    Done("create -q -f qed -b base -F raw a.qed");
    Fill("a.qed", 100, 70000, 'x');
    disk_ = Disk("a.qed");
  }

  static std::string Format(const std::string& name) {
    return Done(absl::StrCat("info --output=json ", name)).Json()["format"];
  }

  static uint64_t Allocated(const std::string& name) {
    return Done(absl::StrCat("info --output=json ", name))
        .Json()["actual-size"];
  }

  std::string disk_;
};

TEST_F(ConvertTest, MakesRawByDefault) {
  const RunResult result = Done("convert a.qed b");
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(Format("b"), "raw");
  EXPECT_EQ(Disk("b"), disk_);
}

TEST_F(ConvertTest, ToEveryFormat) {
  Done("convert -O qed a.qed b");
  EXPECT_EQ(Format("b"), "qed");
  EXPECT_EQ(Disk("b"), disk_);
  Done("convert -O add-cow -o image_file=i a.qed c");
  EXPECT_EQ(Format("c"), "add-cow");
  EXPECT_EQ(Disk("c"), disk_);
}

TEST_F(ConvertTest, KeysAreThoseOfCreate) {
  EXPECT_EQ(Done("convert -O qed -o help").out,
            Done("create -f qed -o help").out);
  Done("convert -O qed -o cluster_size=4k,table_size=2 a.qed b");
  EXPECT_EQ(Done("info --output=json b").Json()["cluster-size"], 4096);
  EXPECT_THAT(Refused("convert -O qed -o foo=1 a.qed c"),
              HasSubstr("unknown option 'foo'"));
  EXPECT_THAT(Refused("convert -O foo a.qed c"), HasSubstr("'foo'"));
}

TEST_F(ConvertTest, WithABackingFileOnlyWhatDiffersIsWritten) {
  Done("convert -O qed -B base -F raw a.qed b");
  EXPECT_EQ(Disk("b"), disk_);
  const nlohmann::json info = Done("info --output=json b").Json();
  EXPECT_EQ(info["backing-filename"], "base");
  EXPECT_EQ(Done("check --output=json b").Json()["allocated-clusters"], 2);
  EXPECT_THAT(Refused("convert -B base a.qed c"),
              HasSubstr("format raw has no backing file"));
}

TEST_F(ConvertTest, ZeroesAreHolesUnlessAskedFor) {
  MakeRaw("sparse", 8 * kMiB, 4096);
  Done("convert sparse holes");
  EXPECT_LT(Allocated("holes"), kMiB);
  Done("convert -S 0 sparse full");
  EXPECT_GE(Allocated("full"), 8 * kMiB);
  EXPECT_EQ(Disk("full"), Disk("holes"));
}

TEST_F(ConvertTest, AnExistingFileIsLeftAlone) {
  MakeRaw("b", 100, 100);
  EXPECT_THAT(Refused("convert a.qed b"), HasSubstr("--force"));
  EXPECT_EQ(std::filesystem::file_size("b"), 100u);
  Done("convert --force a.qed b");
  EXPECT_EQ(Disk("b"), disk_);
}

TEST_F(ConvertTest, IntoAnExistingImage) {
  MakeRaw("b", 2 * kMiB, 2 * kMiB);
  Done("convert -n a.qed b");
  EXPECT_EQ(Disk("b"), disk_);

  // What it is shows its magic; without -O nothing is written over it.
  Done("create -q -f qed c 2M");
  Fill("c", 0, 2 * kMiB, 'c');
  Done("convert -n a.qed c");
  EXPECT_EQ(Format("c"), "qed");
  EXPECT_EQ(Disk("c"), disk_);
}

TEST_F(ConvertTest, AnExistingImageMustBeThereAndLargeEnough) {
  EXPECT_THAT(Refused("convert -n a.qed missing"), HasSubstr("missing"));
  MakeRaw("small", kMiB, kMiB);
  EXPECT_THAT(Refused("convert -n a.qed small"), HasSubstr("small"));
  EXPECT_EQ(Disk("small"), std::string(kMiB, 'B'));
}

TEST_F(ConvertTest, NoCreateLeavesNoRoomForWhatIsCreated) {
  MakeRaw("b", 2 * kMiB, 0);
  for (const char* option : {"-o cluster_size=4k", "-B base", "--force"}) {
    EXPECT_THAT(Refused(absl::StrCat("convert -n -O qed ", option, " a.qed b")),
                HasSubstr("-n makes no image: it can't go with --"));
  }
}

TEST_F(ConvertTest, OntoItselfIsRefused) {
  EXPECT_THAT(Refused("convert -n a.qed a.qed"), StartsWith("flatcow-img: "));
  EXPECT_THAT(Refused("convert --force a.qed base"),
              StartsWith("flatcow-img: "));
  EXPECT_EQ(Disk("a.qed"), disk_);
}

TEST_F(ConvertTest, NumbersThatAreNone) {
  for (const char* count : {"0", "65", "-1", "x", ""}) {
    const RunResult result = Tool({"convert", "-m", count, "a.qed", "b"});
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, HasSubstr("-m must be a number from 1 to 64"));
  }
  EXPECT_THAT(Refused("convert -S 100 a.qed b"),
              HasSubstr("-S must be 0 or a multiple of 512 up to 16777216"));
  EXPECT_THAT(Refused("convert -S 32M a.qed b"), HasSubstr("-S must be"));
  EXPECT_THAT(Refused("convert -S x a.qed b"), HasSubstr("-S: 'x'"));
  EXPECT_THAT(Files(), ElementsAre("a.qed", "base"));
  for (const char* option : {"-m 1", "-m 64", "-S 512", "-S 16M"}) {
    Done(absl::StrCat("convert --force ", option, " a.qed b"));
    EXPECT_EQ(Disk("b"), disk_);
  }
}

TEST_F(ConvertTest, AFailureLeavesNoFile) {
  Refused("convert missing b");
  Refused("convert -f foo a.qed b");
  Refused("convert -O add-cow a.qed b");
  EXPECT_THAT(Files(), ElementsAre("a.qed", "base"));
}

TEST_F(ConvertTest, ProgressIsQemus) {
  const std::string out = Done("convert -p a.qed b").out;
  EXPECT_THAT(out, StartsWith("    (0.00/100%)\r"));
  EXPECT_THAT(out, EndsWith("    (100.00/100%)\r\n"));
  EXPECT_EQ(Done("convert -p -q a.qed c").out, "");
}

TEST_F(ConvertTest, AnInterruptionRemovesWhatWasMade) {
  const RunResult result = InterruptedTool({"convert", "-p", "a.qed", "b"});
  EXPECT_EQ(result.code, 128 + SIGINT);
  EXPECT_EQ(result.err,
            "flatcow-img: convert: b: interrupted: a.qed is untouched, and "
            "this file was removed\n");
  EXPECT_THAT(result.out, EndsWith("\n"));
  EXPECT_THAT(Files(), ElementsAre("a.qed", "base"));
  EXPECT_EQ(Disk("a.qed"), disk_);
}

TEST_F(ConvertTest, AnInterruptionLeavesAnExistingImageToBeWrittenAgain) {
  MakeRaw("b", 2 * kMiB, 2 * kMiB);
  const RunResult result =
      InterruptedTool({"convert", "-p", "-n", "a.qed", "b"});
  EXPECT_EQ(result.code, 128 + SIGINT);
  EXPECT_THAT(result.err, HasSubstr("part old, part new: run the command "
                                    "again"));
  Done("convert -n a.qed b");
  EXPECT_EQ(Disk("b"), disk_);
}

}  // namespace
}  // namespace flatcow::tool
