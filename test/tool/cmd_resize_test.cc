// SPDX-License-Identifier: Apache-2.0
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

constexpr uint64_t kMiB = 1 << 20;

class ResizeTest : public ToolTest {
 protected:
  static uint64_t Size(const std::string& name) {
    return Done(absl::StrCat("info --output=json ", name))
        .Json()["virtual-size"];
  }
};

TEST_F(ResizeTest, ToASize) {
  Done("create -q -f qed a 1M");
  EXPECT_EQ(Done("resize a 3M").out, "Image resized.\n");
  EXPECT_EQ(Size("a"), 3 * kMiB);
}

TEST_F(ResizeTest, BySoMuch) {
  Done("create -q -f qed a 1M");
  Done("resize a +512k");
  EXPECT_EQ(Size("a"), kMiB + (512 << 10));
  MakeRaw("b", 3 * kMiB, 0);
  Done("resize --shrink b -1M");
  EXPECT_EQ(Size("b"), 2 * kMiB);
  Done("resize -f raw b --shrink -1M");
  EXPECT_EQ(Size("b"), kMiB);
}

TEST_F(ResizeTest, WhatIsNewReadsAsZeroes) {
  MakeRaw("base", 2 * kMiB, 2 * kMiB);
  Done("create -q -f qed -b base -F raw a 1M");
  Done("resize a 3M");
  EXPECT_EQ(Disk("a"), std::string(kMiB, 'B') + std::string(2 * kMiB, '\0'));
}

TEST_F(ResizeTest, QuietPrintsNothing) {
  MakeRaw("a", kMiB, 0);
  EXPECT_EQ(Done("resize -q a 2M").out, "");
}

TEST_F(ResizeTest, ShrinkingMustBeAskedFor) {
  MakeRaw("a", 2 * kMiB, 2 * kMiB);
  for (const char* size : {"1M", "-1M", "0"}) {
    const std::string error = Refused(absl::StrCat("resize a ", size));
    EXPECT_THAT(error, StartsWith("flatcow-img: resize: "));
    EXPECT_THAT(error, HasSubstr("--shrink"));
  }
  EXPECT_EQ(Size("a"), 2 * kMiB);
}

TEST_F(ResizeTest, BelowNothingIsRefused) {
  MakeRaw("a", kMiB, 0);
  Refused("resize --shrink a -2M");
  EXPECT_EQ(Size("a"), kMiB);
}

TEST_F(ResizeTest, SizesThatAreNone) {
  MakeRaw("a", kMiB, 0);
  for (const char* size : {"x", "+", "+-1", "-1x", "1.5", "9E"}) {
    EXPECT_THAT(Refused(absl::StrCat("resize a ", size)),
                StartsWith("flatcow-img: resize: a: '"));
  }
  // A dash without a digit is an option.
  EXPECT_THAT(Refused("resize a -x"), HasSubstr("unrecognized option '-x'"));
}

TEST_F(ResizeTest, ErrorsNameTheFile) {
  EXPECT_THAT(Refused("resize missing 1M"),
              StartsWith("flatcow-img: resize: missing: "));
}

}  // namespace
}  // namespace flatcow::tool
