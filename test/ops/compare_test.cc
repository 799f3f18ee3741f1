// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cstdint>
#include <string>

#include "flatcow/image_ops.h"
#include "ops/ops_fixture.h"
#include "support/fault_injection_file_system.h"

namespace flatcow {
namespace {

using Outcome = CompareResult::Outcome;

class CompareTest : public OpsTest {
 protected:
  CompareTest() {
    MakeQed("/a", 16 * kCluster);
    MakeQed("/b", 16 * kCluster);
  }

  CompareResult Compare(const std::string& first, const std::string& second,
                        bool strict = false) {
    return Must(CompareImages(*Open(first), *Open(second),
                              {.strict = strict, .work = {.parallel = 3}}));
  }
};

TEST_F(CompareTest, TheFirstByteThatDiffersIsTold) {
  EXPECT_EQ(Compare("/a", "/b").outcome, Outcome::kSame);
  EXPECT_EQ(Compare("/a", "/base").outcome, Outcome::kSame);
  for (const uint64_t at : {15 * kCluster + 77, 3 * kCluster + 5}) {
    Write("/a", at, "\x7f");
    const CompareResult result = Compare("/b", "/a");
    EXPECT_EQ(result.outcome, Outcome::kContentDiffers);
    EXPECT_EQ(result.offset, at);
    EXPECT_FALSE(result.sizes_differ);
  }
}

TEST_F(CompareTest, WhatOneFileHoldsForBothIsNotRead) {
  FaultInjectionFileSystem faulty(files_);
  const auto a = Must(OpenImage(faulty, "/a", {}));
  const auto b = Must(OpenImage(faulty, "/b", {}));
  faulty.Inject({.kinds = kReadFault, .path = "/base", .forever = true});
  EXPECT_EQ(Must(CompareImages(*a, *b, {})).outcome, Outcome::kSame);
}

TEST_F(CompareTest, ALongerDiskIsTheSameIfItsRestIsZero) {
  MakeQed("/longer", 18 * kCluster);
  CompareResult result = Compare("/a", "/longer");
  EXPECT_EQ(result.outcome, Outcome::kSame);
  EXPECT_TRUE(result.sizes_differ);
  EXPECT_EQ(Compare("/a", "/longer", /*strict=*/true).outcome,
            Outcome::kSizeDiffers);
  Write("/longer", 17 * kCluster, "x");
  for (const bool swap : {false, true}) {
    result = swap ? Compare("/longer", "/a") : Compare("/a", "/longer");
    EXPECT_EQ(result.outcome, Outcome::kContentDiffers);
    EXPECT_EQ(result.offset, 17 * kCluster);
    EXPECT_TRUE(result.sizes_differ);
  }
}

TEST_F(CompareTest, StrictlyAllocationMattersToo) {
  MakeQed("/alone", 16 * kCluster, "");
  MakeQed("/zeroes", 16 * kCluster, "");
  Write("/zeroes", 2 * kCluster, std::string(kCluster, '\0'));
  EXPECT_EQ(Compare("/alone", "/zeroes").outcome, Outcome::kSame);
  const CompareResult result = Compare("/alone", "/zeroes", /*strict=*/true);
  EXPECT_EQ(result.outcome, Outcome::kAllocationDiffers);
  EXPECT_EQ(result.offset, 2 * kCluster);
}

TEST_F(CompareTest, WhatCantBeReadIsNoDifference) {
  Write("/a", 0, base_.substr(0, kCluster));
  FaultInjectionFileSystem faulty(files_);
  const auto image = Must(OpenImage(faulty, "/a", {}));
  Must(image->Map({0, image->Size()}));
  faulty.Inject({.kinds = kReadFault, .path = "/a"});
  const CompareResult result = Must(CompareImages(*Open("/b"), *image, {}));
  EXPECT_EQ(result.outcome, Outcome::kReadFailed);
  EXPECT_TRUE(Fails(result.error, EIO, "/a"));

  PokeFile(files_, "/a", kCluster, Little64(1));
  const CompareResult damaged = Compare("/a", "/b");
  EXPECT_EQ(damaged.outcome, Outcome::kMapFailed);
  EXPECT_TRUE(Fails(damaged.error, EIO, "/a"));
}

}  // namespace
}  // namespace flatcow
