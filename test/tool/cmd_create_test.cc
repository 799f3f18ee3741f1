// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CreateTest : public ToolTest {};
class CreateQemuTest : public QemuTest {};

TEST_F(CreateTest, RawIsTheDefault) {
  EXPECT_EQ(Done("create disk 1.5M").out,
            "Formatting 'disk', fmt=raw size=1572864\n");
  EXPECT_EQ(std::filesystem::file_size("disk"), 1572864u);
}

TEST_F(CreateTest, QedFormattedLine) {
  EXPECT_EQ(Done("create -f qed a 64M").out,
            "Formatting 'a', fmt=qed size=67108864 cluster_size=65536\n");
  EXPECT_EQ(Done("create -f qed -o cluster_size=4k,table_size=2 b 1M").out,
            "Formatting 'b', fmt=qed size=1048576 cluster_size=4096 "
            "table_size=2\n");
}

TEST_F(CreateTest, AddCowFormattedLine) {
  MakeRaw("base", 1 << 20, 100);
  EXPECT_EQ(Done("create -f add-cow -o image_file=i,backing_file=base,"
                 "backing_fmt=raw a")
                .out,
            "Formatting 'a', fmt=add-cow size=1048576 backing_file=base "
            "backing_fmt=raw image_file=i image_fmt=raw cluster_size=65536\n");
  EXPECT_THAT(Files(), ElementsAre("a", "base", "i"));
  EXPECT_EQ(std::filesystem::file_size("i"), 1u << 20);
}

TEST_F(CreateTest, QuietPrintsNothing) {
  const RunResult result = Done("create -q -f qed a 1M");
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "");
}

TEST_F(CreateTest, SizeIsTheBackingFiles) {
  MakeRaw("base", 3 << 20, 100);
  Done("create -f qed -b base -F raw a");
  EXPECT_EQ(Done("info --output=json a").Json()["virtual-size"], 3 << 20);
}

TEST_F(CreateTest, AMissingBackingFormatIsFoundByMagic) {
  Done("create -f qed base 1M");
  const RunResult result = Done("create -f qed -b base a");
  EXPECT_THAT(result.out, HasSubstr("backing_file=base backing_fmt=qed "));
  EXPECT_EQ(result.err, "");
}

TEST_F(CreateTest, RawForLackOfAMagicIsAWarning) {
  MakeRaw("base", 1 << 20, 100);
  const RunResult result = Done("create -f qed -b base a");
  EXPECT_THAT(result.out, HasSubstr("backing_file=base backing_fmt=raw "));
  EXPECT_THAT(result.err, testing::StartsWith("flatcow-img: warning: "));
}

TEST_F(CreateTest, LettersWinOverKeys) {
  MakeRaw("base", 1 << 20, 100);
  EXPECT_THAT(Done("create -f qed -b base -o backing_file=no -F raw a").out,
              HasSubstr("backing_file=base "));
}

TEST_F(CreateTest, UnsafeDoesNotOpenTheBackingFile) {
  EXPECT_THAT(Done("create -u -f qed -b missing -F raw a 1M").out,
              HasSubstr("backing_file=missing backing_fmt=raw "));
}

TEST_F(CreateTest, CommasInNamesAreDoubledWhereTheyMustBe) {
  MakeRaw("ba,se", 1 << 20, 100);
  EXPECT_THAT(Done("create -f qed -b ba,se -F raw a,b").out,
              testing::StartsWith("Formatting 'a,b', fmt=qed size=1048576 "
                                  "backing_file=ba,,se "));
  Done("create -f qed -o backing_file=ba,,se,backing_fmt=raw c");
  EXPECT_EQ(Done("info --output=json c").Json()["backing-filename"], "ba,se");
}

TEST_F(CreateTest, HelpListsTheKeys) {
  EXPECT_EQ(Done("create -f qed -o help").out,
            "Supported qed options:\n"
            "  backing_file=NAME    file that unwritten clusters are read "
            "from\n"
            "  backing_fmt=FMT      its format (default: found by its magic)\n"
            "  cluster_size=SIZE    unit of allocation in bytes (default: "
            "65536)\n"
            "  table_size=COUNT     clusters in an L1 or L2 table (default: "
            "4)\n");
  EXPECT_THAT(Done("create -f add-cow -o help").out, HasSubstr("image_file="));
  EXPECT_EQ(Done("create -o help").out, "Format raw has no options.\n");
}

TEST_F(CreateTest, AnExistingFileIsKeptWithoutForce) {
  std::ofstream("a") << "precious";
  for (const char* line : {"create a 1M", "create -f qed a 1M"}) {
    EXPECT_THAT(Refused(line), HasSubstr("--force")) << line;
    EXPECT_EQ(std::filesystem::file_size("a"), 8u);
  }
  Done("create --force -f qed a 1M");
  EXPECT_EQ(Done("info --output=json a").Json()["format"], "qed");
}

TEST_F(CreateTest, ARefusedCreateLeavesNoFile) {
  for (const char* line :
       {"create a", "create a 12x", "create a 8E", "create -f qcow2 a 1M",
        "create -f qed a", "create -f qed -o foo=1 a 1M",
        "create -f qed -o cluster_size=5000 a 1M",
        "create -f qed -o cluster_size=2k a 1M",
        "create -f qed -o table_size=3 a 1M",
        "create -f qed -o table_size=32 a 1M",
        "create -f qed -b missing -F raw a 1M",
        "create -f qed -u -b missing -F raw a",
        "create -f qed -b a -F qed a 1M", "create -b missing -F raw a 1M",
        "create -f add-cow a 1M", "create -f add-cow -o image_file=a a 1M",
        "create -f add-cow -o image_file=i,cluster_size=3 a 1M",
        "create -f qed no/such/dir 1M"}) {
    Refused(line);
    EXPECT_THAT(Files(), IsEmpty()) << line;
  }
}

TEST_F(CreateTest, RawHasNoBackingFile) {
  MakeRaw("base", 1 << 20, 100);
  EXPECT_EQ(Refused("create -b base -F raw a"),
            "flatcow-img: create: a: format raw has no backing file; take "
            "add-cow, qcow2 or qed\n");
}

TEST_F(CreateTest, AnErrorNamesTheFile) {
  EXPECT_THAT(Refused("create -f qed vm.qed"),
              testing::StartsWith("flatcow-img: create: vm.qed: "));
  EXPECT_THAT(Refused("create -f qed -o foo=1 vm.qed 1M"),
              testing::StartsWith("flatcow-img: create: vm.qed: "));
  EXPECT_THAT(Refused("create vm.raw 12x"),
              testing::StartsWith("flatcow-img: create: vm.raw: "));
}

TEST_F(CreateQemuTest, PrintsTheSameLine) {
  MakeRaw("base", 1 << 20, 4096);
  Qemu("create -q -f qed qedbase 2M");
  for (const char* arguments :
       {"disk 1M", "-f raw disk 1.5M", "-f qed disk 64M",
        "-f qed -b base -F raw disk", "-f qed -b base -F raw disk 3M",
        "-f qed -b qedbase -F qed disk",
        "-f qed -o cluster_size=4k,table_size=2 disk 1M",
        "-f qed -o cluster_size=1M -o table_size=8 disk 1M",
        "-f qed -o backing_fmt=raw,backing_file=base disk 512k",
        "-u -f qed -b missing -F raw disk 1M", "-q -f qed disk 1M"}) {
    const std::string line = std::string("create ") + arguments;
    const RunResult qemu = Qemu(line);
    std::filesystem::remove("disk");
    EXPECT_EQ(Done(line).out, qemu.out) << line;
    std::filesystem::remove("disk");
  }
}

TEST_F(CreateQemuTest, QemuOpensWhatWasMade) {
  MakeRaw("base", 1 << 20, 1 << 20);
  Done("create -f qed -b base -F raw a 2M");
  Done("create -f qed -b a -F qed -o cluster_size=4k,table_size=2 b");
  const RunResult info = Qemu("info --output=json b");
  EXPECT_EQ(info.Json()["backing-filename"], "a");
  EXPECT_EQ(info.Json()["cluster-size"], 4096);
  Qemu("check b");
  QemuIo("qed", "b", "write -P 7 900k 400k");
  QemuIo("qed", "b", "read -P 66 0 900k");
  QemuIo("qed", "b", "read -P 0 1500k 500k");
  Done("check b");
}

}  // namespace
}  // namespace flatcow::tool
