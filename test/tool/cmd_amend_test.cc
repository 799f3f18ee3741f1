// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr uint64_t kMiB = 1 << 20;

class AmendTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    MakeRaw("base", kMiB, kMiB);
    Done("create -q -f qed -b base -F raw a.qed");
    Done("create -q -f add-cow -b base -F raw -o image_file=i a.add-cow");
    Fill("a.add-cow", 100, 1000, 'x');
  }

  static nlohmann::json Info(const std::string& name) {
    return Done("info --output=json " + name).Json();
  }
};

TEST_F(AmendTest, TheNameOfAMovedBackingFile) {
  std::filesystem::rename("base", "moved");
  EXPECT_EQ(Done("amend -o backing_file=moved,backing_fmt=raw a.qed").out, "");
  EXPECT_EQ(Info("a.qed")["backing-filename"], "moved");
  EXPECT_EQ(Info("a.qed")["backing-filename-format"], "raw");
  EXPECT_EQ(Disk("a.qed"), std::string(kMiB, 'B'));
}

TEST_F(AmendTest, TheNameOfAMovedImageFile) {
  const std::string disk = Disk("a.add-cow");
  std::filesystem::rename("i", "moved");
  Done("amend -o image_file=moved,image_fmt=raw a.add-cow");
  EXPECT_EQ(Info("a.add-cow")["format-specific"]["data"]["image-file"],
            "moved");
  EXPECT_EQ(Disk("a.add-cow"), disk);
}

TEST_F(AmendTest, TheLayoutIsFinalAlready) {
  Done("amend -o compat=final a.add-cow");
  EXPECT_THAT(Refused("amend -o compat=v1 a.add-cow"),
              HasSubstr("a.add-cow: option compat: there is no layout 'v1'"));
}

// Of the draft of June 2012, which leaves the backing file's format open: the
// names are at 36 and 40.
TEST_F(AmendTest, ADraftBecomesAnImageOfTheFinalLayout) {
  MakeRaw("draft.image", kMiB, kMiB);
  MakeRaw("draft", 4096, 0);
  std::ofstream(std::filesystem::path("draft"), std::ios::in | std::ios::binary)
      << "ADD_COW\xff";
  Poke("draft", 8, 36ull << 32 | 1);
  Poke("draft", 16, 40ull << 32 | 4);
  Poke("draft", 24, 1ull << 32 | 11);
  std::fstream(std::filesystem::path("draft")).seekp(36) << "base"
                                                         << "draft.image";
  Fill("draft", 65536, 65536, 'x');
  const std::string disk = Disk("draft");
  EXPECT_EQ(Info("draft")["format"], "add-cow");

  EXPECT_THAT(Done("amend -o compat=final draft").err,
              HasSubstr("warning: backing file 'base' has no magic"));
  EXPECT_EQ(Peek("draft", 0) & 0xffffffff, 0x574f4341u);  // "ACOW"
  EXPECT_EQ(Info("draft")["backing-filename-format"], "raw");
  EXPECT_EQ(Info("draft")["format-specific"]["data"]["image-file"],
            "draft.image");
  EXPECT_EQ(Disk("draft"), disk);
  EXPECT_FALSE(std::filesystem::exists("draft.upgrade"));
  EXPECT_EQ(Done("amend -o compat=final draft").err, "");
}

TEST_F(AmendTest, KeysOfTheFormat) {
  EXPECT_THAT(Done("amend -f add-cow -o help").out,
              StartsWith("Supported add-cow options:\n  compat=final "));
  EXPECT_EQ(Done("amend -o help a.qed").out, Done("amend -f qed -o help").out);
  EXPECT_THAT(Done("amend -f qed -o help").out,
              testing::Not(HasSubstr("image_file")));
  EXPECT_THAT(Refused("amend -o image_file=x a.qed"),
              HasSubstr("unknown option 'image_file'"));
}

TEST_F(AmendTest, Errors) {
  EXPECT_THAT(Refused("amend a.qed"),
              HasSubstr("nothing to change was named: -o"));
  EXPECT_THAT(Refused("amend -o backing_file=x base"),
              HasSubstr("base: format 'raw' records nothing"));
  EXPECT_THAT(Refused("amend -o backing_file=x missing"),
              StartsWith("flatcow-img: amend: missing: "));
  EXPECT_THAT(Refused("amend -f qed -o backing_file=x a.add-cow"),
              HasSubstr("a.add-cow"));
}

}  // namespace
}  // namespace flatcow::tool
