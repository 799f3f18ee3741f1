// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class MapTest : public ToolTest {};

// Chains that cover: raw with holes; QED over raw, shorter and longer; QED over
// QED; zero clusters; nothing at all.
class MapQemuTest : public QemuTest {
 protected:
  void SetUp() override {
    QemuTest::SetUp();
    if (IsSkipped()) return;
    MakeRaw("base.raw", 1 << 20, 512 << 10);
    Qemu("create -q -f qed a.qed 64M");
    Qemu("create -q -f qed -b base.raw -F raw b.qed");
    QemuIo("qed", "b.qed", "write -P 1 0 64k");
    QemuIo("qed", "b.qed", "write -P 2 256k 128k");
    QemuIo("qed", "b.qed", "write -z 512k 64k");
    QemuIo("qed", "b.qed", "write -P 3 704k 64k");
    Qemu("create -q -f qed -b base.raw -F raw long.qed 3M");
    Qemu("create -q -f qed -b base.raw -F raw short.qed 512k");
    Qemu("create -q -f qed -b b.qed -F qed c.qed 2M");
    QemuIo("qed", "c.qed", "write -P 4 64k 64k");
    QemuIo("qed", "c.qed", "write -P 4 1500k 100k");
    Qemu("create -q -f qed -b long.qed -F qed steps.qed 4M");
    Qemu("create -q -f qed -b a.qed -F qed over.qed 100M");
    Qemu("create -q -f qed -o cluster_size=4k,table_size=2 small.qed 10M");
    QemuIo("qed", "small.qed", "write -P 4 5M 12k");
    QemuIo("qed", "small.qed", "write -P 4 4M 4k");
    QemuIo("qed", "small.qed", "write -z 6M 4k");
    std::filesystem::create_directory("sub");
    Qemu("create -q -f qed -b ../base.raw -F raw sub/s.qed");
    Qemu("create -q -f raw empty.raw 0");
  }
};

TEST_F(MapTest, EmptyQed) {
  Done("create -q -f qed a 64M");
  EXPECT_EQ(Done("map --output=json a").out,
            "[{ \"start\": 0, \"length\": 67108864, \"depth\": 0, \"present\": "
            "false, \"zero\": true, \"data\": false}]\n");
  EXPECT_EQ(Done("map a").out,
            "Offset          Length          Mapped to       File\n");
}

TEST_F(MapTest, AddCowOverRaw) {
  MakeRaw("base", 128 << 10, 128 << 10);
  Done("create -q -f add-cow -b base -F raw -o image_file=i a");
  EXPECT_EQ(Done("map a").out,
            "Offset          Length          Mapped to       File\n"
            "0               0x20000         0               base\n");
}

TEST_F(MapTest, AllocatedAddCowClustersAreInTheImageFile) {
  MakeRaw("i", 128 << 10, 128 << 10);
  Done("create -q -f add-cow -o image_file=i a 128k");
  EXPECT_EQ(Done("map a").out,
            "Offset          Length          Mapped to       File\n"
            "0               0x20000         0               i\n");
}

TEST_F(MapTest, ChangedIsWhatTheImageItselfHolds) {
  MakeRaw("base", 1 << 20, 1 << 20);
  Done("create -q -f qed -b base -F raw mid");
  Fill("mid", 0, 65536, 'm');
  Done("create -q -f qed -b mid -F qed a");
  EXPECT_EQ(Done("map --changed --output=json a").out, "[]\n");
  EXPECT_EQ(Done("map --changed a").out,
            "Offset          Length          Mapped to       File\n");
  Fill("a", 262144, 131072, 'x');
  const nlohmann::json runs = Done("map --changed --output=json a").Json();
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0]["start"], 262144);
  EXPECT_EQ(runs[0]["length"], 131072);
  EXPECT_EQ(runs[0]["depth"], 0);
  EXPECT_EQ(runs[0]["data"], true);
  EXPECT_THAT(Done("map --changed a").out,
              HasSubstr("\n0x40000         0x20000"));
  EXPECT_EQ(Done("map --changed -l 256k --output=json a").out, "[]\n");
}

TEST_F(MapTest, ChangedOfAnImageWithoutABackingFileIsAllItHolds) {
  MakeRaw("a", 1 << 20, 65536);
  const nlohmann::json all = Done("map --output=json a").Json();
  EXPECT_EQ(Done("map --changed --output=json a").Json()[0], all[0]);
}

TEST_F(MapTest, AHugeSparseDiskIsFast) {
  Done("create -q -f qed -o cluster_size=1M,table_size=16 a 64T");
  EXPECT_EQ(Done("map --output=json a").Json().size(), 1u);
}

TEST_F(MapTest, DamageIsAnErrorThatNamesTheFile) {
  Done("create -q -f qed a 10M");
  Poke("a", 65536, uint64_t{1} << 40);
  const RunResult result = Tool({"map", "a"});
  EXPECT_EQ(result.code, 1);
  EXPECT_THAT(result.err, StartsWith("flatcow-img: map: "));
  EXPECT_THAT(result.err, HasSubstr("/a: "));
}

TEST_F(MapTest, Errors) {
  EXPECT_THAT(Refused("map missing"),
              StartsWith("flatcow-img: map: missing: "));
  MakeRaw("a", 1 << 20, 0);
  EXPECT_THAT(Refused("map -s foo a"), HasSubstr("--start-offset: 'foo'"));
  EXPECT_THAT(Refused("map -l -1 a"), HasSubstr("--max-length: '-1'"));
  Done("create -q -u -f qed -b gone -F raw b 1M");
  EXPECT_THAT(Refused("map b"), HasSubstr("gone"));
}

TEST_F(MapQemuTest, OutputIsQemus) {
  const std::string here = std::filesystem::current_path().string();
  for (const std::string& file :
       {std::string("base.raw"), std::string("a.qed"), std::string("b.qed"),
        std::string("long.qed"), std::string("short.qed"), std::string("c.qed"),
        std::string("steps.qed"), std::string("over.qed"),
        std::string("small.qed"), std::string("sub/s.qed"),
        std::string("empty.raw"), std::string("./c.qed"), here + "/c.qed"}) {
    for (const std::string option : {"", "-U ", "--output=json "}) {
      const std::string line = absl::StrCat("map ", option, file);
      EXPECT_EQ(Done(line).out, Qemu(line).out) << line;
    }
  }
}

// Of every kind of cluster that qcow2 has.
class MapQcow2Test : public QemuTest {
 protected:
  void SetUp() override {
    QemuTest::SetUp();
    if (IsSkipped()) return;
    MakeRaw("src", 1 << 20, 512 << 10);
    Qemu("convert -c -O qcow2 src packed.qcow2");
    Qemu("create -q -f qcow2 plain.qcow2 2M");
    QemuIo("qcow2", "plain.qcow2", "write -P 1 64k 100k");
    QemuIo("qcow2", "plain.qcow2", "write -P 1 1M 128k");
    QemuIo("qcow2", "plain.qcow2", "write -z 1M 64k");
    Qemu("create -q -f qcow2 -o extended_l2=on -b src -F raw sub.qcow2");
    QemuIo("qcow2", "sub.qcow2", "write -P 1 66k 3k");
    QemuIo("qcow2", "sub.qcow2", "write -z 256k 4k");
    Qemu("create -q -f qcow2 -o data_file=data data.qcow2 1M");
    QemuIo("qcow2", "data.qcow2", "write -P 1 64k 200k");
    QemuIo("qcow2", "data.qcow2", "write -z 64k 64k");
    Qemu("create -q -f qcow2 -o data_file=whole,data_file_raw=on raw.qcow2 1M");
    QemuIo("qcow2", "raw.qcow2", "write -z 64k 64k");
    Qemu("create -q -f qcow2 -b packed.qcow2 -F qcow2 over.qcow2 2M");
    QemuIo("qcow2", "over.qcow2", "write -P 1 64k 64k");
    Qemu("create -q -f qed -b over.qcow2 -F qcow2 over.qed");
  }
};

// To us a place that is kept but not read is nothing.
nlohmann::json WithoutUnread(nlohmann::json runs) {
  for (nlohmann::json& run : runs) {
    if (run["zero"]) run.erase("offset");
  }
  return runs;
}

TEST_F(MapQcow2Test, OutputIsQemus) {
  for (const std::string file :
       {"plain.qcow2", "sub.qcow2", "data.qcow2", "raw.qcow2"}) {
    const std::string line = absl::StrCat("map ", file);
    EXPECT_EQ(Done(line).out, Qemu(line).out) << line;
  }
  for (const std::string file :
       {"packed.qcow2", "plain.qcow2", "sub.qcow2", "data.qcow2", "raw.qcow2",
        "over.qcow2", "over.qed"}) {
    const std::string line = absl::StrCat("map --output=json ", file);
    EXPECT_EQ(WithoutUnread(Done(line).Json()),
              WithoutUnread(Qemu(line).Json()))
        << line;
  }
}

TEST_F(MapQcow2Test, CompressedClustersHaveNoLine) {
  for (const std::string line :
       {"map packed.qcow2", "map over.qed", "map -s 128k over.qcow2"}) {
    const RunResult ours = Tool(Words(line));
    const RunResult qemu = RunProgram("qemu-img", Words(line));
    EXPECT_EQ(ours.code, 1) << line;
    EXPECT_EQ(qemu.code, 1) << line;
    EXPECT_EQ(ours.out, qemu.out) << line;
    EXPECT_THAT(ours.err, StartsWith(absl::StrCat(
                              "flatcow-img: map: ", Words(line).back(), ": ")));
    EXPECT_THAT(ours.err, HasSubstr("compressed in packed.qcow2"));
    EXPECT_THAT(ours.err, HasSubstr("--output=json"));
  }
  // Where nothing is compressed there is a line.
  const char* part = "map -s 64k -l 64k over.qcow2";
  EXPECT_EQ(Done(part).out, Qemu(part).out);
}

TEST_F(MapQemuTest, PartsAreQemus) {
  for (const std::string range :
       {"-s 64k -l 300k", "-s 1000 -l 3000", "-s 2M", "-s 1M", "-l 0",
        "-s 1023k -l 5M", "-s 4M", "--start-offset=64k --max-length=64k"}) {
    for (const std::string option : {"", "--output=json "}) {
      const std::string line = absl::StrCat("map ", option, range, " c.qed");
      EXPECT_EQ(Done(line).out, Qemu(line).out) << line;
    }
  }
}

TEST_F(MapQemuTest, AFormatThatIsGivenIsUsed) {
  const char* line = "map -f raw --output=json b.qed";
  EXPECT_EQ(Done(line).out, Qemu(line).out);
}

}  // namespace
}  // namespace flatcow::tool
