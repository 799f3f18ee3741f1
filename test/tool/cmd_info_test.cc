// SPDX-License-Identifier: Apache-2.0
#include <endian.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class InfoTest : public ToolTest {};

// A chain as QEMU makes it: c.qed over b.qed over base.raw, and more.
class InfoQemuTest : public QemuTest {
 protected:
  void SetUp() override {
    QemuTest::SetUp();
    if (IsSkipped()) return;
    MakeRaw("base.raw", 1 << 20, 300000);
    Qemu("create -q -f qed -b base.raw -F raw b.qed");
    Qemu("create -q -f qed -b b.qed -F qed c.qed 5M");
    Qemu("create -q -f qed -o cluster_size=4k,table_size=2 alone.qed 10M");
    Qemu("create -q -u -f qed -b missing -F raw orphan.qed 1M");
    std::filesystem::create_directory("sub");
    Qemu("create -q -f qed -b ../base.raw -F raw sub/s.qed");
    QemuIo("qed", "b.qed", "write -P 1 64k 200k");
  }

  // Every key that qemu-img prints, with its value; keys of ours may follow.
  static void ExpectSameKeys(const nlohmann::json& ours,
                             const nlohmann::json& qemu) {
    for (const auto& [key, value] : qemu.items()) {
      ASSERT_TRUE(ours.contains(key)) << key;
      EXPECT_EQ(ours[key], value) << key;
    }
    EXPECT_EQ(ours.size(), qemu.size()) << ours;
  }
};

TEST_F(InfoTest, Raw) {
  MakeRaw("disk", 1 << 20, 0);
  EXPECT_EQ(Done("info disk").out,
            "image: disk\n"
            "file format: raw\n"
            "virtual size: 1 MiB (1048576 bytes)\n"
            "disk size: 0 B\n");
}

TEST_F(InfoTest, DirtyQedIsSaid) {
  Done("create -q -f qed a 1M");
  EXPECT_EQ(Done("info --output=json a").Json()["dirty-flag"], false);
  EXPECT_THAT(Done("info a").out, Not(HasSubstr("cleanly")));
  Poke("a", 16, 2);
  EXPECT_EQ(Done("info --output=json a").Json()["dirty-flag"], true);
  EXPECT_THAT(Done("info a").out,
              HasSubstr("cluster_size: 65536\ncleanly shut down: no\n"));
}

TEST_F(InfoTest, AddCow) {
  MakeRaw("base", 1 << 20, 100);
  Done("create -q -f add-cow -b base -F raw -o image_file=i a");
  const nlohmann::json json = Done("info --output=json a").Json();
  EXPECT_EQ(json["format"], "add-cow");
  EXPECT_EQ(json["virtual-size"], 1 << 20);
  EXPECT_EQ(json["cluster-size"], 65536);
  EXPECT_EQ(json["backing-filename"], "base");
  EXPECT_EQ(json["backing-filename-format"], "raw");
  EXPECT_EQ(json["dirty-flag"], false);
  EXPECT_EQ(json["format-specific"],
            nlohmann::json::parse(R"({"type": "add-cow", "data": {
                "image-file": "i", "image-file-format": "raw",
                "all-allocated": false}})"));
  EXPECT_THAT(Done("info a").out, HasSubstr("backing file: base\n"
                                            "backing file format: raw\n"
                                            "Format specific information:\n"
                                            "    image file: i\n"
                                            "    image file format: raw\n"
                                            "    all allocated: false\n"));
}

TEST_F(InfoTest, AddCowWithoutBackingIsAllAllocated) {
  Done("create -q -f add-cow -o image_file=i a 1M");
  const nlohmann::json json = Done("info --output=json a").Json();
  EXPECT_EQ(json["format-specific"]["data"]["all-allocated"], true);
  EXPECT_FALSE(json.contains("backing-filename"));
}

TEST_F(InfoTest, ChainOfBothFormats) {
  MakeRaw("base", 1 << 20, 100);
  Done("create -q -f add-cow -b base -F raw -o image_file=i mid");
  Done("create -q -f qed -b mid top");
  const nlohmann::json json =
      Done("info --backing-chain --output=json top").Json();
  ASSERT_EQ(json.size(), 3u);
  EXPECT_EQ(json[0]["filename"], "top");
  EXPECT_EQ(json[1]["filename"], "mid");
  EXPECT_EQ(json[2]["filename"], "base");
  EXPECT_THAT(Done("info --backing-chain top").out,
              HasSubstr("\n\nimage: mid\nfile format: add-cow\n"));
}

TEST_F(InfoTest, NamesCannotForgeLinesOrKeys) {
  // A control character and a byte that is not UTF-8.
  const std::string name = "x\n\x1b[2J\xff";
  const RunResult made = Tool(
      {"create", "-q", "-u", "-f", "qed", "-b", name, "-F", "raw", "a", "1M"});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_THAT(Done("info a").out,
              HasSubstr("\nbacking file: x\\x0a\\x1b[2J\\xff\n"));
  EXPECT_EQ(Done("info --output=json a").Json()["backing-filename"],
            "x\n\x1b[2J\xef\xbf\xbd");
}

TEST_F(InfoTest, ErrorsAreOneLine) {
  EXPECT_THAT(Refused("info missing"),
              StartsWith("flatcow-img: info: missing: "));
  EXPECT_THAT(Refused("info ."), StartsWith("flatcow-img: info: "));
  MakeRaw("base", 1 << 20, 100);
  EXPECT_THAT(Refused("info -f qed base"), HasSubstr("base"));
  EXPECT_THAT(Refused("info -f foo base"), HasSubstr("foo"));
}

TEST_F(InfoTest, AFormatThatIsGivenIsNotDoubted) {
  Done("create -q -f qed a 1M");
  EXPECT_EQ(Done("info -f raw --output=json a").Json()["format"], "raw");
}

TEST_F(InfoQemuTest, JsonIsQemus) {
  const std::string here = std::filesystem::current_path().string();
  for (const std::string& file :
       {std::string("base.raw"), std::string("b.qed"), std::string("c.qed"),
        std::string("alone.qed"), std::string("orphan.qed"),
        std::string("sub/s.qed"), std::string("./b.qed"), here + "/b.qed",
        here + "/sub/s.qed"}) {
    SCOPED_TRACE(file);
    const std::string line = absl::StrCat("info --output=json ", file);
    ExpectSameKeys(Done(line).Json(), Qemu(line).Json());
  }
}

TEST_F(InfoQemuTest, HumanIsQemus) {
  for (const std::string file : {"base.raw", "b.qed", "c.qed", "alone.qed",
                                 "orphan.qed", "sub/s.qed", "./b.qed"}) {
    const std::string line = absl::StrCat("info ", file);
    EXPECT_EQ(Done(line).out, Qemu(line).out);
  }
  EXPECT_EQ(Done("info -U b.qed").out, Qemu("info -U b.qed").out);
  EXPECT_EQ(Done("info -f raw b.qed").out, Qemu("info -f raw b.qed").out);
}

TEST_F(InfoQemuTest, JsonTextIsQemus) {
  for (const char* line : {"info --output=json b.qed",
                           "info --output=json --backing-chain c.qed"}) {
    EXPECT_EQ(Done(line).out, Qemu(line).out);
  }
}

TEST_F(InfoQemuTest, ChainsAreQemus) {
  for (const std::string file : {"base.raw", "c.qed", "sub/s.qed"}) {
    SCOPED_TRACE(file);
    const std::string line =
        absl::StrCat("info --backing-chain --output=json ", file);
    const nlohmann::json ours = Done(line).Json();
    const nlohmann::json qemu = Qemu(line).Json();
    ASSERT_EQ(ours.size(), qemu.size());
    for (size_t i = 0; i < ours.size(); ++i) ExpectSameKeys(ours[i], qemu[i]);
    const std::string human = absl::StrCat("info --backing-chain ", file);
    EXPECT_EQ(Done(human).out, Qemu(human).out);
  }
}

// qcow2 with every line that there may be.
class InfoQcow2Test : public InfoQemuTest {
 protected:
  void SetUp() override {
    InfoQemuTest::SetUp();
    if (IsSkipped()) return;
    Qemu("create -q -f qcow2 plain.qcow2 10M");
    Qemu("create -q -f qcow2 -o compat=0.10 old.qcow2 1M");
    Qemu(
        "create -q -f qcow2 -o extended_l2=on,lazy_refcounts=on,refcount_bits=1"
        " wide.qcow2 1M");
    Qemu("create -q -f qcow2 -o compression_type=zstd,cluster_size=4k z 1M");
    Qemu("convert -c -O qcow2 base.raw packed.qcow2");
    Qemu("create -q -f qcow2 -b base.raw -F raw over.qcow2");
    Qemu("create -q -u -f qcow2 -b gone -F raw orphan.qcow2 1M");
    Qemu("create -q -f qcow2 -b ../over.qcow2 -F qcow2 sub/top.qcow2");
    Qemu("create -q -f qcow2 -o data_file=d1 -b base.raw -F raw data.qcow2");
    Qemu("create -q -f qcow2 -o data_file=d2,data_file_raw=on raw.qcow2 1M");
    QemuIo("qcow2", "data.qcow2", "write -P 1 64k 200k");
  }

  // Sets a bit of the incompatible features.
  static void SetFeature(const std::string& image, uint64_t bit) {
    const uint64_t before = be64toh(Peek(image, 72));
    Poke(image, 72, htobe64(before | uint64_t{1} << bit));
  }

  static void ExpectSame(const std::string& arguments) {
    const std::string human = absl::StrCat("info ", arguments);
    EXPECT_EQ(Done(human).out, Qemu(human).out);
    const std::string json = absl::StrCat("info --output=json ", arguments);
    EXPECT_EQ(Done(json).out, Qemu(json).out);
  }
};

TEST_F(InfoQcow2Test, OutputIsQemus) {
  for (const char* file :
       {"plain.qcow2", "old.qcow2", "wide.qcow2", "z", "packed.qcow2",
        "over.qcow2", "orphan.qcow2", "sub/top.qcow2", "./over.qcow2"}) {
    ExpectSame(file);
  }
  ExpectSame("--backing-chain sub/top.qcow2");
}

TEST_F(InfoQcow2Test, DirtyAndCorruptAreSaid) {
  SetFeature("plain.qcow2", 0);
  ExpectSame("plain.qcow2");
  EXPECT_THAT(Done("info plain.qcow2").out,
              HasSubstr("cleanly shut down: no\n"));
  SetFeature("wide.qcow2", 1);
  ExpectSame("wide.qcow2");
  EXPECT_THAT(Done("info wide.qcow2").out, HasSubstr("corrupt: true\n"));
}

// Their space on the host counts. QEMU counts it where it opens them for this,
// which versions that are safe with strangers' images do not.
TEST_F(InfoQcow2Test, DataFilesAreNamedAndCounted) {
  for (const std::string file : {"data.qcow2", "raw.qcow2"}) {
    const std::string line = absl::StrCat("info --output=json ", file);
    nlohmann::json ours = Done(line).Json();
    nlohmann::json qemu = Qemu(line).Json();
    EXPECT_GE(ours["actual-size"], qemu["actual-size"]);
    ours.erase("actual-size");
    qemu.erase("actual-size");
    EXPECT_EQ(ours, qemu);
  }
  const uint64_t ours =
      Done("info --output=json data.qcow2").Json()["actual-size"];
  const uint64_t qemu =
      Qemu("info --output=json data.qcow2").Json()["actual-size"];
  struct stat data;
  ASSERT_EQ(stat("d1", &data), 0);
  EXPECT_THAT(qemu,
              AnyOf(ours, ours - 512 * static_cast<uint64_t>(data.st_blocks)));
  EXPECT_GT(data.st_blocks, 0);
  EXPECT_THAT(Done("info raw.qcow2").out, HasSubstr("    refcount bits: 16\n"
                                                    "    data file: d2\n"
                                                    "    data file raw: true\n"
                                                    "    corrupt: false\n"));
}

TEST_F(InfoQemuTest, AMissingBackingFileMattersToTheChainOnly) {
  Done("info orphan.qed");
  EXPECT_THAT(Refused("info --backing-chain orphan.qed"), HasSubstr("missing"));
  EXPECT_EQ(
      RunProgram("qemu-img", Words("info --backing-chain orphan.qed")).code, 1);
}

}  // namespace
}  // namespace flatcow::tool
