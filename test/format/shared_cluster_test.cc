// SPDX-License-Identifier: Apache-2.0
//
// QED tables and clusters that two entries name: repaired by a copy for the
// second.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "format/hostile_image.h"

namespace flatcow {
namespace {

class SharedClusterTest : public HostileImageTest {
 protected:
  static constexpr uint64_t kCluster = RawQed::kCluster;

  CheckResult Repaired(Repair repair) {
    CheckOptions options;
    options.repair = repair;
    return Must(CheckImage(files_, "/a", options));
  }

  // `shared` entries are found, `fixed` are repaired: those of copied tables
  // too.
  void RepairAll(const std::string& bytes, uint64_t shared, uint64_t fixed) {
    files_.SetContents("/a", bytes);
    EXPECT_EQ(Repaired(Repair::kNone).corruptions, shared);
    const CheckResult leaks = Repaired(Repair::kLeaks);
    EXPECT_EQ(leaks.corruptions, shared);
    EXPECT_TRUE(files_.Contents("/a") == bytes);
    const CheckResult all = Repaired(Repair::kAll);
    EXPECT_EQ(all.corruptions, 0u);
    EXPECT_EQ(all.corruptions_fixed, fixed);
    EXPECT_TRUE(all.changed.empty());
    EXPECT_TRUE(IsClean(files_, "/a"));
  }
};

TEST_F(SharedClusterTest, DataOfOneTable) {
  std::string bytes = RawQed().Bytes("base");
  Overwrite(bytes, RawQed::kL2 + 3 * 8, Little64(RawQed::kData));
  Overwrite(bytes, RawQed::kL2 + 5 * 8, Little64(RawQed::kData));
  RepairAll(bytes, 2, 2);
  const auto image = Must(Open("/a", Access::kReadWrite));
  WriteDisk(*image, 3 * kCluster, "three");
  EXPECT_EQ(ReadDisk(*image, {3 * kCluster, 6}), "threeA");
  EXPECT_EQ(ReadDisk(*image, {0, kCluster}), std::string(kCluster, 'A'));
  EXPECT_EQ(ReadDisk(*image, {5 * kCluster, kCluster}),
            std::string(kCluster, 'A'));
}

// The second user's table is a copy, whose data is copied in turn.
TEST_F(SharedClusterTest, ATable) {
  std::string bytes = RawQed().Bytes("base");
  Overwrite(bytes, RawQed::kL1 + 8, Little64(RawQed::kL2));
  RepairAll(bytes, 1, 3);
  const auto image = Must(Open("/a", Access::kReadWrite));
  EXPECT_EQ(ReadDisk(*image, {RawQed::kTableReach + kCluster - 1, 2}), "AB");
  WriteDisk(*image, RawQed::kTableReach, "second");
  EXPECT_EQ(ReadDisk(*image, {0, 7}), "AAAAAAA");
  EXPECT_EQ(ReadDisk(*image, {RawQed::kTableReach, 7}), "secondA");
}

// Which of the two is readable before does not depend on the order in L1.
TEST_F(SharedClusterTest, HalfOfATable) {
  for (const uint64_t lower : {0u, 1u}) {
    std::string bytes = RawQed().Bytes("base") + std::string(3 * kCluster, 0);
    Overwrite(bytes, RawQed::kL1 + lower * 8, Little64(RawQed::kEnd));
    Overwrite(bytes, RawQed::kL1 + (1 - lower) * 8,
              Little64(RawQed::kEnd + kCluster));
    Overwrite(bytes, RawQed::kEnd, Little64(RawQed::kData));
    // The last entry of the one's second cluster is the other's first.
    Overwrite(bytes, RawQed::kEnd + kCluster, Little64(RawQed::kData));
    const uint64_t one = lower * RawQed::kTableReach;
    const uint64_t other = (1 - lower) * RawQed::kTableReach;
    files_.SetContents("/a", bytes);
    EXPECT_EQ(ReadDisk(*Must(Open("/a", Access::kReadOnly)), {one, 1}), "A");
    EXPECT_EQ(Repaired(Repair::kAll).corruptions, 0u);
    EXPECT_EQ(Must(CheckImage(files_, "/a", {})).corruptions, 0u);
    const auto image = Must(Open("/a", Access::kReadWrite));
    EXPECT_EQ(ReadDisk(*image, {one, 1}), "A");
    EXPECT_EQ(ReadDisk(*image, {one + 512 * kCluster, 1}), "A");
    EXPECT_EQ(ReadDisk(*image, {other, 1}), "A");
  }
}

// What a bad entry once named may be among the leaks, and someone may want to
// look for it.
TEST_F(SharedClusterTest, BesideDamageLeaksAreLeftAndTheImageIsUnclean) {
  RawQed image;
  image.header.features = qed::kFeatureNeedCheck;
  std::string bytes = image.Bytes("base") + std::string(3 * kCluster, 'L');
  Overwrite(bytes, RawQed::kL2 + 3 * 8, Little64(RawQed::kData));
  files_.SetContents("/a", bytes);
  const CheckResult leaks = Repaired(Repair::kLeaks);
  EXPECT_EQ(leaks.corruptions, 1u);
  EXPECT_EQ(leaks.leaks, 3u);
  EXPECT_EQ(leaks.leaks_fixed, 0u);
  EXPECT_TRUE(files_.Contents("/a") == bytes);
}

// Space behind the copies may be what a bad entry names: it has to go first.
TEST_F(SharedClusterTest, BesideEntriesPastTheEnd) {
  std::string bytes = RawQed().Bytes("base");
  Overwrite(bytes, RawQed::kL2 + 3 * 8, Little64(RawQed::kData));
  Overwrite(bytes, RawQed::kL2 + 4 * 8, Little64(RawQed::kEnd));
  files_.SetContents("/a", bytes);
  const CheckResult all = Repaired(Repair::kAll);
  EXPECT_EQ(all.corruptions_fixed, 2u);
  EXPECT_EQ(all.changed.size(), 1u);
  EXPECT_TRUE(IsClean(files_, "/a"));
  const auto image = Must(Open("/a", Access::kReadWrite));
  EXPECT_EQ(ReadDisk(*image, {3 * kCluster, 1}), "A");
  EXPECT_EQ(ReadDisk(*image, {4 * kCluster, 16}),
            base_.substr(4 * kCluster, 16));
}

}  // namespace
}  // namespace flatcow
