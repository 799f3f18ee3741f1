// SPDX-License-Identifier: Apache-2.0
//
// QED table entries that point where they must not.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "format/hostile_image.h"

namespace flatcow {
namespace {

struct BadEntry {
  std::string name;
  uint64_t value;
};
void PrintTo(const BadEntry& entry, std::ostream* out) { *out << entry.name; }

class BadL2EntryTest : public HostileImageTest,
                       public testing::WithParamInterface<BadEntry> {};

TEST_P(BadL2EntryTest, IsAnErrorOfItsClusterOnly) {
  std::string bytes = RawQed().Bytes("base");
  Overwrite(bytes, RawQed::kL2 + 3 * 8, Little64(GetParam().value));
  files_.SetContents("/a", bytes);
  {
    const auto image = Must(Open("/a", Access::kReadWrite));
    uint8_t byte = 1;
    const Extent cluster{3 * RawQed::kCluster, 1};
    EXPECT_TRUE(
        Fails(image->Read(cluster.offset, {&byte, 1}), EIO, "L2 entry 3"));
    EXPECT_TRUE(
        Fails(image->Write(cluster.offset, {&byte, 1}), EIO, "L2 entry 3"));
    EXPECT_TRUE(Fails(image->WriteZeroes(cluster), EIO, "/a"));
    EXPECT_TRUE(Fails(image->Allocate(cluster), EIO, "/a"));
    EXPECT_TRUE(Fails(image->Map(cluster), EIO, "/a"));
    EXPECT_TRUE(Fails(image->Read(cluster.offset - 1, {&byte, 1}), 0));
    EXPECT_EQ(ReadDisk(*image, {4095, 2}), "AB");
    EXPECT_EQ(ReadDisk(*image, {4 * 4096, 16}), base_.substr(4 * 4096, 16));
  }
  EXPECT_TRUE(files_.Contents("/a") == bytes);
  const auto check = Must(CheckImage(files_, "/a", {}));
  EXPECT_EQ(check.corruptions, 1u);
  Exercise("/a");
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, BadL2EntryTest,
    testing::Values(BadEntry{"two", 2},
                    BadEntry{"unaligned", RawQed::kData + 512},
                    BadEntry{"in_the_header", RawQed::kCluster},
                    BadEntry{"in_l1", RawQed::kL1},
                    BadEntry{"end_of_l1", RawQed::kL1 + 4096},
                    BadEntry{"in_a_table", RawQed::kL2},
                    BadEntry{"end_of_a_table", RawQed::kL2 + 4096},
                    BadEntry{"end_of_the_file", RawQed::kEnd},
                    BadEntry{"far_past_the_end", uint64_t{1} << 40},
                    BadEntry{"sign_bit", uint64_t{1} << 63},
                    BadEntry{"all_ones_aligned", ~uint64_t{4095}},
                    BadEntry{"all_ones", ~uint64_t{0}}),
    [](const auto& entry) { return entry.param.name; });

using BadTableTest = HostileImageTest;

class BadL1EntryTest : public HostileImageTest,
                       public testing::WithParamInterface<BadEntry> {};

TEST_P(BadL1EntryTest, IsAnErrorOfItsReachOnly) {
  std::string bytes = RawQed().Bytes("base");
  Overwrite(bytes, RawQed::kL1 + 8, Little64(GetParam().value));
  files_.SetContents("/a", bytes);
  {
    const auto image = Must(Open("/a", Access::kReadWrite));
    uint8_t byte = 1;
    const Extent there{RawQed::kTableReach + 5, 1};
    EXPECT_TRUE(
        Fails(image->Read(there.offset, {&byte, 1}), EIO, "L1 entry 1"));
    EXPECT_TRUE(
        Fails(image->Write(there.offset, {&byte, 1}), EIO, "L1 entry 1"));
    EXPECT_TRUE(Fails(image->WriteZeroes(there), EIO, "/a"));
    EXPECT_TRUE(Fails(image->Map(there), EIO, "/a"));
    EXPECT_EQ(ReadDisk(*image, {4095, 2}), "AB");
  }
  EXPECT_TRUE(files_.Contents("/a") == bytes);
  EXPECT_EQ(Must(CheckImage(files_, "/a", {})).corruptions, 1u);
  Exercise("/a");
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, BadL1EntryTest,
    testing::Values(BadEntry{"one", 1},
                    BadEntry{"unaligned", RawQed::kData + 512},
                    BadEntry{"in_the_header", RawQed::kCluster},
                    BadEntry{"in_l1", RawQed::kL1},
                    BadEntry{"half_in_l1", RawQed::kL1 + 4096},
                    BadEntry{"half_past_the_end", RawQed::kEnd - 4096},
                    BadEntry{"end_of_the_file", RawQed::kEnd},
                    BadEntry{"sign_bit", uint64_t{1} << 63},
                    BadEntry{"all_ones_aligned", ~uint64_t{4095}}),
    [](const auto& entry) { return entry.param.name; });

// formats.md: no entry may overlap an L2 table that L1 names. A write through a
// table that two entries share would land in two places of the disk.
TEST_F(BadTableTest, ATableSharedByTwoEntriesIsNotWrittenThrough) {
  std::string bytes = RawQed().Bytes("base");
  Overwrite(bytes, RawQed::kL1 + 8, Little64(RawQed::kL2));
  files_.SetContents("/a", bytes);
  const auto image = Must(Open("/a", Access::kReadWrite));
  const uint8_t byte = 1;
  EXPECT_TRUE(Fails(
      image->Write(RawQed::kTableReach + 3 * RawQed::kCluster, {&byte, 1}), EIO,
      "L1 entry 1"));
  EXPECT_EQ(ReadDisk(*image, {3 * RawQed::kCluster, 8}),
            base_.substr(3 * RawQed::kCluster, 8));
}

TEST_F(BadTableTest, ACutLastClusterStaysInvalid) {
  // Entry 1 names the last cluster, of which half is missing.
  const std::string bytes =
      RawQed().Bytes().substr(0, RawQed::kEnd - RawQed::kCluster / 2);
  files_.SetContents("/a", bytes);
  const auto image = Must(Open("/a", Access::kReadWrite));
  uint8_t byte = 0;
  EXPECT_TRUE(
      Fails(image->Read(RawQed::kCluster, {&byte, 1}), EIO, "L2 entry 1"));
  // Its table takes no new entries, so that it can't be mistaken for one.
  EXPECT_TRUE(Fails(image->Write(10 * RawQed::kCluster, {&byte, 1}), EIO,
                    "check -r all"));
  // Allocation elsewhere makes the file longer, but brings nothing back.
  WriteDisk(*image, RawQed::kTableReach, "new");
  EXPECT_TRUE(
      Fails(image->Read(RawQed::kCluster, {&byte, 1}), EIO, "L2 entry 1"));
}

// The file grows over a place that a table has named all along, whichever of
// the two comes first.
TEST_F(BadTableTest, APlacePastTheEndStaysInvalidWhenTheFileGrowsOverIt) {
  for (const bool read_first : {false, true}) {
    std::string bytes = RawQed().Bytes("base");
    Overwrite(bytes, RawQed::kL2 + 3 * 8,
              Little64(RawQed::kEnd + 2 * RawQed::kCluster));
    files_.SetContents("/a", bytes);
    const auto image = Must(Open("/a", Access::kReadWrite));
    uint8_t byte = 0;
    const uint64_t bad = 3 * RawQed::kCluster;
    if (read_first) {
      EXPECT_TRUE(Fails(image->Read(bad, {&byte, 1}), EIO, "L2 entry 3"));
    }
    WriteDisk(*image, RawQed::kTableReach,
              PatternText(1, 8 * RawQed::kCluster));
    EXPECT_TRUE(Fails(image->Read(bad, {&byte, 1}), EIO, "L2 entry 3"));
    EXPECT_TRUE(Fails(image->Write(bad, {&byte, 1}), EIO, "L2 entry 3"));
    // What the table holds besides can be used.
    EXPECT_EQ(ReadDisk(*image, {4095, 2}), "AB");
    WriteDisk(*image, 4095, "CD");
    EXPECT_EQ(ReadDisk(*image, {4095, 2}), "CD");
    EXPECT_EQ(ReadDisk(*image, {RawQed::kTableReach, 64}), PatternText(1, 64));
  }
}

}  // namespace
}  // namespace flatcow
