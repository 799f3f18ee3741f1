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

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr uint64_t kMiB = 1 << 20;

class CompareTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    MakeRaw("a", kMiB, 300000);
    Done("create -q -f qed -b a -F raw same");
    Done("create -q -f qed -b a -F raw other");
    Fill("other", 70000, 10, 'x');
  }

  // The exit code and what is printed.
  static void Expect(const std::string& line, int code,
                     const std::string& out) {
    const RunResult result = Tool(Words("compare " + line));
    EXPECT_EQ(result.code, code) << line << result.err;
    EXPECT_EQ(result.out, out) << line;
    EXPECT_EQ(result.err, "");
  }
};

TEST_F(CompareTest, TheSame) {
  Expect("a same", 0, "Images are identical.\n");
  Expect("a a", 0, "Images are identical.\n");
  Expect("-q a same", 0, "");
  Expect("-f raw -F qed a same", 0, "Images are identical.\n");
}

TEST_F(CompareTest, DifferentBytes) {
  Expect("a other", 1, "Content mismatch at offset 70000!\n");
  Expect("-q a other", 1, "");
  // As raw files they are not even of one size.
  Expect("-q -F raw a same", 1, "");
}

TEST_F(CompareTest, ZeroesBehindTheShorterOne) {
  std::filesystem::copy_file("a", "long");
  std::filesystem::resize_file("long", 2 * kMiB);
  Expect("a long", 0, "Warning: Image size mismatch!\nImages are identical.\n");
  Expect("long a", 0, "Warning: Image size mismatch!\nImages are identical.\n");
  Expect("-s a long", 1, "Strict mode: Image size mismatch!\n");
  Poke("long", kMiB + 4096, 1);
  Expect("a long", 1,
         absl::StrCat("Warning: Image size mismatch!\nContent mismatch at "
                      "offset ",
                      kMiB + 4096, "!\n"));
  // That comes first.
  Expect("other long", 1, "Content mismatch at offset 70000!\n");
}

TEST_F(CompareTest, StrictLooksAtAllocation) {
  MakeRaw("full", kMiB, 0);
  Done("create -q -f qed empty 1M");
  Done("create -q -f qed zeroes 1M");
  Fill("zeroes", 0, 65536, '\0');
  Expect("empty zeroes", 0, "Images are identical.\n");
  Expect("-s empty zeroes", 1,
         "Strict mode: Offset 0 block status mismatch!\n");
}

TEST_F(CompareTest, WhatCannotBeOpenedIsExitCode2) {
  EXPECT_THAT(Refused("compare a missing", 2),
              StartsWith("flatcow-img: compare: missing: "));
  EXPECT_THAT(Refused("compare missing a", 2), HasSubstr("missing"));
  Refused("compare -f qed a same", 2);
  Refused("compare -F foo a same", 2);
}

TEST_F(CompareTest, WhatCannotBeMappedIsExitCode3) {
  // An L1 entry that points behind the end.
  Poke("other", 65536, uint64_t{1} << 40);
  EXPECT_THAT(Refused("compare a other", 3), HasSubstr("/other: "));
}

TEST_F(CompareTest, ProgressEndsBeforeTheResult) {
  const std::string out = Done("compare -p a same").out;
  EXPECT_THAT(out, StartsWith("    (0.00/100%)\r"));
  EXPECT_THAT(out, EndsWith("\r\nImages are identical.\n"));
}

TEST_F(CompareTest, AnInterruptionIsNoResult) {
  const RunResult result = InterruptedTool({"compare", "-p", "a", "same"});
  EXPECT_EQ(result.code, 128 + SIGINT);
  EXPECT_EQ(result.err,
            "flatcow-img: compare: a: interrupted: nothing was changed\n");
}

}  // namespace
}  // namespace flatcow::tool
