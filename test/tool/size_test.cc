// SPDX-License-Identifier: Apache-2.0
#include "size.h"

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::HasSubstr;

uint64_t Parse(absl::string_view text) {
  const auto size = ParseSize(text);
  EXPECT_TRUE(size.ok()) << text << ": " << size.status();
  return size.value_or(UINT64_MAX);
}

TEST(ParseSizeTest, PlainNumbersAreBytes) {
  EXPECT_EQ(Parse("0"), 0u);
  EXPECT_EQ(Parse("65536"), 65536u);
  EXPECT_EQ(Parse("0065536"), 65536u);
  EXPECT_EQ(Parse("512b"), 512u);
  EXPECT_EQ(Parse("512B"), 512u);
  EXPECT_EQ(Parse("9223372036854775807"), uint64_t{INT64_MAX});
}

TEST(ParseSizeTest, SuffixesAreBinaryInEitherCase) {
  const std::string suffixes = "kmgtpe";
  for (size_t i = 0; i < suffixes.size(); ++i) {
    const uint64_t unit = uint64_t{1} << (10 * (i + 1));
    const char upper = static_cast<char>(suffixes[i] - 'a' + 'A');
    EXPECT_EQ(Parse(absl::StrCat("3", std::string(1, suffixes[i]))), 3 * unit);
    EXPECT_EQ(Parse(absl::StrCat("3", std::string(1, upper))), 3 * unit);
  }
}

TEST(ParseSizeTest, FractionsNeedAUnitAndDropPartsOfAByte) {
  EXPECT_EQ(Parse("1.5G"), 1610612736u);
  EXPECT_EQ(Parse("0.1k"), 102u);
  EXPECT_EQ(Parse("5.k"), 5120u);
  EXPECT_EQ(Parse("1.0"), 1u);
  EXPECT_FALSE(ParseSize("1.5").ok());
  EXPECT_FALSE(ParseSize("1.5b").ok());
  EXPECT_FALSE(ParseSize(".5k").ok());
}

TEST(ParseSizeTest, HexadecimalHasNoSuffix) {
  EXPECT_EQ(Parse("0x100000"), 1048576u);
  EXPECT_EQ(Parse("0XfF"), 255u);
  EXPECT_FALSE(ParseSize("0x").ok());
  EXPECT_FALSE(ParseSize("0x1k").ok());
  EXPECT_FALSE(ParseSize("0x-1").ok());
}

TEST(ParseSizeTest, RefusesWhatIsNoSize) {
  for (const char* text : {"", "k", "12x", "4kB", "4k ", " 4k", "-1", "+1",
                           "1e3", "1.5e1k", "1,5G", "1.2.3k", "1kk"}) {
    const auto size = ParseSize(text);
    EXPECT_EQ(size.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(size.status().message(), HasSubstr("suffix k, M, G"));
  }
}

TEST(ParseSizeTest, OverflowIsAnError) {
  EXPECT_EQ(Parse("7.5E"), uint64_t{15} << 59);
  for (const char* text :
       {"9223372036854775808", "18446744073709551616", "8E", "16E",
        "99999999999999999999999", "7.9999999999999999999E", "8796093022208M",
        "0x8000000000000000", "0x10000000000000000"}) {
    EXPECT_EQ(ParseSize(text).status().code(), absl::StatusCode::kOutOfRange)
        << text;
  }
}

TEST(HumanSizeTest, KnownValues) {
  EXPECT_EQ(HumanSize(0), "0 B");
  EXPECT_EQ(HumanSize(1), "1 B");
  EXPECT_EQ(HumanSize(999), "999 B");
  EXPECT_EQ(HumanSize(1000), "0.977 KiB");
  EXPECT_EQ(HumanSize(1536), "1.5 KiB");
  EXPECT_EQ(HumanSize(266240), "260 KiB");
  EXPECT_EQ(HumanSize(67108864), "64 MiB");
  EXPECT_EQ(HumanSize(1047552), "0.999 MiB");
  EXPECT_EQ(HumanSize(uint64_t{1} << 46), "64 TiB");
  EXPECT_EQ(HumanSize(uint64_t{7} << 60), "7 EiB");
}

class SizeQemuTest : public QemuTest {};

TEST_F(SizeQemuTest, HumanSizesAreThoseOfQemuImg) {
  for (const uint64_t size :
       {0ull, 512ull, 1024ull, 10240ull, 999424ull, 1023488ull, 1047552ull,
        1234944ull, 10000384ull, 67107840ull, 1073741824ull, 1610612736ull,
        1099511627776ull}) {
    std::ofstream("disk").close();
    std::filesystem::resize_file("disk", size);
    EXPECT_THAT(Qemu("info -f raw disk").out,
                HasSubstr(absl::StrCat("virtual size: ", HumanSize(size), " (",
                                       size, " bytes)\n")));
  }
}

// But for ".5k", which newer versions of qemu-img read.
TEST_F(SizeQemuTest, ReadsWhatQemuImgReads) {
  for (const std::string text :
       {"1.5M", "0.1k", "5.k", "1.0", "1.1k", "0x100000", "100", "1b", "3K",
        "0.999999M", "1.3G", "12x", "1.5", "4kB", "-1", "1e3"}) {
    const RunResult qemu =
        RunProgram("qemu-img", {"create", "-q", "disk", "--", text});
    const auto size = ParseSize(text);
    ASSERT_EQ(size.ok(), qemu.code == 0) << text;
    if (!size.ok()) continue;
    // qemu-img rounds the file up to whole sectors.
    EXPECT_EQ((*size + 511) / 512 * 512,
              (std::filesystem::file_size("disk") + 511) / 512 * 512)
        << text;
  }
}

}  // namespace
}  // namespace flatcow::tool
