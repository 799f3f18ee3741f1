// SPDX-License-Identifier: Apache-2.0
//
// What the verbs say and take of qcow2 images only.
#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

class Qcow2VerbsTest : public ToolTest {};
class Qcow2VerbsQemuTest : public QemuTest {};

TEST_F(Qcow2VerbsTest, AnImageAndItsDataFileAreMade) {
  MakeRaw("base", kMiB, 100);
  EXPECT_EQ(Done("create -f qcow2 -b base -F raw -o data_file=d a").out,
            "Formatting 'a', fmt=qcow2 cluster_size=65536 size=1048576 "
            "backing_file=base backing_fmt=raw data_file=d refcount_bits=16\n");
  EXPECT_THAT(Files(), ElementsAre("a", "base", "d"));
  EXPECT_EQ(std::filesystem::file_size("d"), kMiB);
  EXPECT_EQ(Disk("a"), Disk("base"));
}

TEST_F(Qcow2VerbsTest, ADataFileThatIsThereIsTheDisk) {
  MakeRaw("d", kMiB, kMiB);
  Done("create -q -f qcow2 -o data_file=d,data_file_raw=on a");
  EXPECT_EQ(Disk("a"), std::string(kMiB, 'B'));
}

TEST_F(Qcow2VerbsTest, ARefusedCreateLeavesNoFile) {
  MakeRaw("base", kMiB, 100);
  for (const char* line :
       {"create -f qcow2 a 1M", "create -f qcow2 -o data_file=a a 1M",
        "create -f qcow2 -o data_file=base -b base -F raw a",
        "create -f qcow2 -o data_file=d,refcount_bits=3 a 1M",
        "create -f qcow2 -o data_file=d,refcount_bits=128 a 1M",
        "create -f qcow2 -o data_file=d,cluster_size=3 a 1M",
        "create -f qcow2 -o data_file=d,cluster_size=4M a 1M",
        "create -f qcow2 -o data_file=d,table_size=4 a 1M",
        "create -f qcow2 -o data_file=d,data_file_raw=on -b base -F raw a"}) {
    Refused(line);
    EXPECT_THAT(Files(), ElementsAre("base")) << line;
  }
}

TEST_F(Qcow2VerbsTest, HelpListsTheKeys) {
  EXPECT_EQ(Done("create -f qcow2 -o help").out,
            "Supported qcow2 options:\n"
            "  data_file=NAME       file that written clusters go to "
            "(required; made if missing)\n"
            "  data_file_raw=on|off  that file by itself is always the disk "
            "(default: off)\n"
            "  backing_file=NAME    file that unwritten clusters are read "
            "from\n"
            "  backing_fmt=FMT      its format (default: found by its magic)\n"
            "  cluster_size=SIZE    unit of allocation in bytes (default: "
            "65536)\n"
            "  refcount_bits=COUNT  bits of a reference count, a power of two "
            "(default: 16)\n");
}

TEST_F(Qcow2VerbsTest, MeasuringNeedsNoDataFile) {
  for (const char* line : {"measure -O qcow2 --output=json --size 1G",
                           "measure -O qcow2 --output=json -o data_file=d "
                           "--size 1G"}) {
    const nlohmann::json json = Done(line).Json();
    EXPECT_GT(json["required"], 0) << line;
    EXPECT_LT(json["required"], kMiB) << line;
    EXPECT_GT(json["fully-allocated"], 1024 * kMiB) << line;
    EXPECT_LT(json["fully-allocated"], 1026 * kMiB) << line;
  }
  EXPECT_THAT(Files(), ElementsAre());
}

TEST_F(Qcow2VerbsTest, MovedFilesAreAmended) {
  MakeRaw("base", kMiB, kMiB);
  Done("create -q -f qcow2 -o data_file=d -b base -F raw a");
  Fill("a", 100, 1000, 'x');
  const std::string disk = Disk("a");
  std::filesystem::rename("base", "base2");
  std::filesystem::rename("d", "d2");
  Done("amend -o data_file=d2,backing_file=base2,backing_fmt=raw a");
  const nlohmann::json info = Done("info --output=json a").Json();
  EXPECT_EQ(info["format-specific"]["data"]["data-file"], "d2");
  EXPECT_EQ(info["backing-filename"], "base2");
  EXPECT_EQ(info["backing-filename-format"], "raw");
  EXPECT_EQ(Disk("a"), disk);
  EXPECT_THAT(Refused("amend -o image_file=x a"),
              HasSubstr("format qcow2 has data_file, backing_file"));
}

// QEMU takes a relative name to be relative to the working directory.
TEST_F(Qcow2VerbsTest, ADataFileWhereQemuLooksForItIsNamedInTheError) {
  std::filesystem::create_directory("disks");
  Done("create -q -f qcow2 -o data_file=d disks/a 1M");
  std::filesystem::rename("disks/d", "d");
  const std::string refused = Refused("map disks/a");
  EXPECT_THAT(refused, HasSubstr("data file 'd'"));
  EXPECT_THAT(refused, HasSubstr("there is one in the working directory"));
  std::filesystem::remove("d");
  EXPECT_THAT(Refused("map disks/a"),
              testing::Not(HasSubstr("working directory")));
}

TEST_F(Qcow2VerbsQemuTest, CreatePrintsQemusLineWithoutKeysThatItLacks) {
  MakeRaw("base", kMiB, 4096);
  for (const char* arguments :
       {"-o data_file=d disk 1M", "-o data_file=d,data_file_raw=on disk 1M",
        "-o data_file=d -b base -F raw disk",
        "-o data_file=d,cluster_size=4k,refcount_bits=8 disk 1M",
        "-o data_file=d,backing_file=base,backing_fmt=raw disk 3M"}) {
    const std::string line = absl::StrCat("create -f qcow2 ", arguments);
    const std::string qemu =
        absl::StrReplaceAll(Qemu(line).out, {{" extended_l2=off", ""},
                                             {" compression_type=zlib", ""},
                                             {" lazy_refcounts=off", ""}});
    std::filesystem::remove("disk");
    std::filesystem::remove("d");
    EXPECT_EQ(Done(line).out, qemu) << line;
    Qemu("check disk");
    std::filesystem::remove("disk");
    std::filesystem::remove("d");
  }
}

TEST_F(Qcow2VerbsQemuTest, CheckIsQemus) {
  MakeRaw("base", kMiB, kMiB);
  Qemu("create -q -f qcow2 -o data_file=d1 empty 1M");
  Qemu("create -q -f qcow2 -o data_file=d2,data_file_raw=on full 1M");
  Qemu("create -q -f qcow2 -o data_file=d3,cluster_size=4k -b base -F raw a");
  QemuIo("qcow2", "a", "write -P 1 64k 100k");
  QemuIo("qcow2", "a", "write -P 1 300k 4k");
  for (const char* file : {"empty", "full", "a"}) {
    for (const char* option : {"", "-q ", "--output=json "}) {
      const std::string line = absl::StrCat("check ", option, file);
      EXPECT_EQ(Done(line).out, Qemu(line).out) << line;
    }
  }
}

TEST_F(Qcow2VerbsQemuTest, QemuReadsWhatWasConverted) {
  MakeRaw("src", 3 * kMiB, kMiB + 5000);
  Done("convert -O qcow2 -o data_file=d src a");
  Qemu("check a");
  Qemu("compare -f raw -F qcow2 src a");
}

TEST_F(Qcow2VerbsQemuTest, OthersAreReadButNotCheckedOrWritten) {
  MakeRaw("src", kMiB, 500000);
  Qemu("convert -c -O qcow2 src a");
  Done("compare -F raw a src");
  EXPECT_THAT(Refused("check a", 63), HasSubstr("external data file"));
  EXPECT_THAT(Refused("check -r all a", 63), HasSubstr("external data file"));
  MakeRaw("other", kMiB, 4096);
  for (const char* line :
       {"resize a 2M", "convert -n -O qcow2 other a", "flatten a",
        "rebase -u -b other -F raw a", "amend -o backing_file=other a"}) {
    EXPECT_THAT(Refused(line), HasSubstr("external data file")) << line;
  }
  Done("create -q -f qed -b a -F qcow2 over");
  Fill("over", 0, 4096, 'x');
  EXPECT_THAT(Refused("commit over"), HasSubstr("external data file"));
  Qemu("check a");
  Done("compare -F raw a src");
}

}  // namespace
}  // namespace flatcow::tool
