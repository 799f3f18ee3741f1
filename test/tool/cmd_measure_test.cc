// SPDX-License-Identifier: Apache-2.0
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

class MeasureTest : public ToolTest {};

TEST_F(MeasureTest, ANewDisk) {
  const RunResult result = Done("measure -O qed --size 1G");
  const nlohmann::json json =
      Done("measure -O qed --size=1G --output=json").Json();
  EXPECT_EQ(result.out,
            absl::StrCat("required size: ", json["required"].get<uint64_t>(),
                         "\nfully allocated size: ",
                         json["fully-allocated"].get<uint64_t>(), "\n"));
  EXPECT_LT(json["required"], kMiB);
  EXPECT_GT(json["fully-allocated"], 1024 * kMiB);
}

TEST_F(MeasureTest, WhatAConvertedImageTakes) {
  MakeRaw("a", 8 * kMiB, kMiB);
  Done("convert -O qed a b");
  const nlohmann::json json = Done("measure -O qed --output=json a").Json();
  const uint64_t taken = Done("info --output=json b").Json()["actual-size"];
  EXPECT_GE(json["required"], taken);
  EXPECT_LE(json["required"], taken + kMiB);
}

TEST_F(MeasureTest, KeysAreThoseOfCreate) {
  EXPECT_EQ(Done("measure -O qed -o help").out,
            Done("create -f qed -o help").out);
  Done("measure -O qed -o cluster_size=4k --size 1M");
  Done("measure -O add-cow -o image_file=i --size 1M");
}

TEST_F(MeasureTest, Errors) {
  MakeRaw("a", kMiB, 0);
  EXPECT_THAT(Refused("measure --size 1M a"),
              HasSubstr("either FILE or --size"));
  EXPECT_THAT(Refused("measure --size x"), HasSubstr("--size: 'x'"));
  EXPECT_THAT(Refused("measure -O foo a"), HasSubstr("foo"));
  EXPECT_THAT(Refused("measure missing"),
              StartsWith("flatcow-img: measure: missing: "));
}

}  // namespace
}  // namespace flatcow::tool
