// SPDX-License-Identifier: Apache-2.0
//
// qcow2 images with a data file whose metadata is not what it should be.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "format/hostile_image.h"
#include "format/qcow2/header.h"
#include "format/qcow2/l2_entry.h"

namespace flatcow {
namespace {

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kReach = kCluster / 8 * kCluster;  // of an L2 table

CheckOptions RepairAll() {
  CheckOptions options;
  options.repair = Repair::kAll;
  return options;
}

std::string Big64(uint64_t value) { return Little64(SwapBytes(value)); }

class HostileQcow2Test : public HostileImageTest {
 protected:
  // Two L2 tables, and data in clusters 0, 3 and 512.
  HostileQcow2Test() {
    files_.SetContents("/img", PatternText(9, 2 * kReach));
    Make(files_, "/a",
         {.format = "qcow2",
          .size = 2 * kReach,
          .backing_file = "base",
          .backing_format = "raw",
          .cluster_size = kCluster,
          .data_file = "img"});
    const auto image = Must(Open("/a", Access::kReadWrite));
    WriteDisk(*image, 0, std::string(kCluster, 'A'));
    WriteDisk(*image, 3 * kCluster, std::string(kCluster, 'B'));
    WriteDisk(*image, kReach, std::string(kCluster, 'C'));
    Must(image->Flush());
  }

  qcow2::Header Header() {
    const auto file = Must(files_.Open("/a", Access::kReadOnly));
    return Must(qcow2::LoadHeader(*file));
  }
  uint64_t WordAt(uint64_t offset) {
    const std::string bytes = files_.Contents("/a").substr(offset, 8);
    return LoadBig64(reinterpret_cast<const uint8_t*>(bytes.data()));
  }
  uint64_t TableAt(uint64_t l1_index) {
    return WordAt(Header().l1_offset + l1_index * 8) & qcow2::kOffsetMask;
  }
  void Poke(uint64_t offset, uint64_t value) {
    PokeFile(files_, "/a", offset, Big64(value));
  }
  void SetFeatures(uint64_t incompatible, uint64_t autoclear) {
    Poke(qcow2::kIncompatibleOffset, incompatible);
    Poke(qcow2::kAutoclearOffset, autoclear);
  }

  testing::AssertionResult ShowsAll() {
    const auto image = Must(Open("/a", Access::kReadOnly));
    std::string expected = base_;
    expected.resize(2 * kReach, '\0');
    Overwrite(expected, 0, std::string(kCluster, 'A'));
    Overwrite(expected, 3 * kCluster, std::string(kCluster, 'B'));
    Overwrite(expected, kReach, std::string(kCluster, 'C'));
    return Shows(*image, expected);
  }
};

TEST_F(HostileQcow2Test, ABadEntryIsAnErrorOfItsClusterOnly) {
  const uint64_t entry = TableAt(0) + 3 * 8;
  const uint64_t good = WordAt(entry);
  for (const uint64_t value :
       {good + kCluster, good + 512, good ^ (uint64_t{1} << 40),
        good | qcow2::kEntryCompressed, ~uint64_t{0}}) {
    SCOPED_TRACE(absl::StrCat(absl::Hex(value)));
    Poke(entry, value);
    EXPECT_EQ(Must(CheckImage(files_, "/a", {})).corruptions, 1u);
    const auto image = Must(Open("/a", Access::kReadWrite));
    uint8_t byte = 1;
    EXPECT_TRUE(
        Fails(image->Read(3 * kCluster, {&byte, 1}), EIO, "L2 entry 3"));
    EXPECT_TRUE(
        Fails(image->Write(3 * kCluster, {&byte, 1}), EIO, "L2 entry 3"));
    EXPECT_TRUE(Fails(image->WriteZeroes({3 * kCluster, 1}), EIO, "/a"));
    EXPECT_EQ(ReadDisk(*image, {kCluster - 1, 1}), "A");
    EXPECT_EQ(ReadDisk(*image, {4 * kCluster, 9}),
              base_.substr(4 * kCluster, 9));
  }
  const CheckResult repaired = Must(CheckImage(files_, "/a", RepairAll()));
  EXPECT_EQ(repaired.corruptions_fixed, 1u);
  EXPECT_EQ(repaired.changed.size(), 1u);
  EXPECT_TRUE(IsClean(files_, "/a"));
  const auto image = Must(Open("/a", Access::kReadOnly));
  EXPECT_EQ(ReadDisk(*image, {3 * kCluster, 9}), base_.substr(3 * kCluster, 9));
}

TEST_F(HostileQcow2Test, ABadTableIsAnErrorOfItsReachOnly) {
  const uint64_t entry = Header().l1_offset + 8;
  for (const uint64_t value : {TableAt(0), uint64_t{512}, Header().l1_offset,
                               uint64_t{1} << 40, TableAt(1) + 512}) {
    SCOPED_TRACE(absl::StrCat(absl::Hex(value)));
    Poke(entry, value | qcow2::kEntryCopied);
    const auto image = Must(Open("/a", Access::kReadWrite));
    uint8_t byte = 1;
    EXPECT_TRUE(Fails(image->Read(kReach, {&byte, 1}), EIO, "L1 entry 1"));
    EXPECT_TRUE(Fails(image->Write(kReach, {&byte, 1}), EIO, "L1 entry 1"));
    EXPECT_EQ(ReadDisk(*image, {kCluster - 1, 1}), "A");
    WriteDisk(*image, 5 * kCluster, "more");
    Must(image->Flush());
    EXPECT_EQ(ReadDisk(*image, {kCluster - 1, 1}), "A");
  }
  Must(CheckImage(files_, "/a", RepairAll()).status());
  EXPECT_TRUE(IsClean(files_, "/a"));
}

TEST_F(HostileQcow2Test, RefcountsThatAreWrongAreMadeAnewBeforeTheFirstWrite) {
  const qcow2::Header header = Header();
  const uint64_t block = WordAt(header.refcount_table_offset);
  const std::string good = files_.Contents("/a");
  const struct {
    const char* what;
    uint64_t offset;
    uint64_t value;
  } kDamage[] = {
      {"all counts 0", block, 0},
      {"all counts 2", block, 0x0002000200020002},
      {"no block", header.refcount_table_offset, 0},
      {"the block is the L1 table", header.refcount_table_offset,
       header.l1_offset},
      {"the block is an L2 table", header.refcount_table_offset, TableAt(0)},
      {"the block is nowhere", header.refcount_table_offset, uint64_t{1} << 50},
      {"the block is the header", header.refcount_table_offset, 512},
      {"the table is an L2 table", 48, TableAt(1)},
      {"the table is nowhere", 48, uint64_t{1} << 50}};
  for (const auto& damage : kDamage) {
    SCOPED_TRACE(damage.what);
    files_.SetContents("/a", good);
    Poke(damage.offset, damage.value);
    EXPECT_TRUE(ShowsAll());
    {
      const auto image = Must(Open("/a", Access::kReadWrite));
      WriteDisk(*image, 0, std::string(kCluster, 'A'));
      Must(image->Flush());
    }
    EXPECT_TRUE(ShowsAll());
    EXPECT_TRUE(IsClean(files_, "/a"));
  }
}

TEST_F(HostileQcow2Test, ADirtyImageIsMendedAtTheFirstWrite) {
  SetFeatures(qcow2::kIncompatibleDataFile | qcow2::kIncompatibleDirty,
              uint64_t{1} << 40 | qcow2::kAutoclearBitmaps);
  Poke(WordAt(Header().refcount_table_offset), 0);
  const std::string before = files_.Contents("/a");
  EXPECT_TRUE(ShowsAll());
  EXPECT_TRUE(files_.Contents("/a") == before);
  Must(Open("/a", Access::kReadWrite).status());
  EXPECT_EQ(Header().incompatible, qcow2::kIncompatibleDataFile);
  EXPECT_EQ(Header().autoclear, 0u);
  EXPECT_TRUE(ShowsAll());
  EXPECT_TRUE(IsClean(files_, "/a"));
}

TEST_F(HostileQcow2Test, AnImageMarkedAsCorruptIsReadOnlyUntilItIsRepaired) {
  SetFeatures(qcow2::kIncompatibleDataFile | qcow2::kIncompatibleCorrupt, 0);
  const std::string before = files_.Contents("/a");
  EXPECT_TRUE(ShowsAll());
  EXPECT_TRUE(
      Fails(Open("/a", Access::kReadWrite), EROFS, "marked as corrupt"));
  EXPECT_TRUE(files_.Contents("/a") == before);
  Must(CheckImage(files_, "/a", RepairAll()).status());
  Must(Open("/a", Access::kReadWrite).status());
  EXPECT_TRUE(ShowsAll());
}

TEST_F(HostileQcow2Test, AShortDataFileEndsInZeroes) {
  const auto data = Must(files_.Open("/img", Access::kReadWrite));
  Must(data->Truncate(3 * kCluster + 100));
  {
    const auto image = Must(Open("/a", Access::kReadOnly));
    EXPECT_EQ(ReadDisk(*image, {3 * kCluster + 99, 2}), std::string("B\0", 2));
    EXPECT_EQ(ReadDisk(*image, {kReach, 2}), std::string(2, '\0'));
  }
  const auto image = Must(Open("/a", Access::kReadWrite));
  WriteDisk(*image, kReach + 1, "C");
  EXPECT_EQ(ReadDisk(*image, {kReach, 3}), std::string("\0C\0", 3));
  EXPECT_EQ(Must(files_.Stat("/img")).size, 2 * kReach);
}

TEST_F(HostileQcow2Test, WhatTheDataFileHasPastTheEndNeverShows) {
  files_.SetContents("/disk", PatternText(9, kCluster));
  Make(files_, "/raw",
       {.format = "qcow2",
        .size = kCluster,
        .cluster_size = kCluster,
        .data_file = "disk",
        .data_file_raw = true});
  PokeFile(files_, "/disk", kCluster, PatternText(5, 3 * kCluster));
  const auto image = Must(Open("/raw", Access::kReadWrite));
  Must(image->Resize(2 * kCluster));
  EXPECT_TRUE(
      Shows(*image, PatternText(9, kCluster) + std::string(kCluster, '\0')));
}

// Of any length, and those that nobody knows.
TEST_F(HostileQcow2Test, OtherExtensionsStayWhenNamesChange) {
  const std::string unknown =
      std::string("\x12\x34\x56\x78\0\0\0\5stays\0\0\0", 16);
  const std::string good = files_.Contents("/a");
  const size_t at = good.find("\xe2\x79\x2a\xca");
  ASSERT_NE(at, std::string::npos);
  // In front of the others, which are cut off where the backing name begins.
  std::string bytes = good;
  const size_t name = good.find("base", at);
  Overwrite(bytes, at, unknown + good.substr(at, name - at) + "base");
  Overwrite(bytes, 8, Big64(name + unknown.size()));
  files_.SetContents("/a", bytes);
  EXPECT_TRUE(ShowsAll());
  for (const char* backing : {"./base", ".//base", "base"}) {
    Must(AmendImage(files_, "/a", {.backing_file = backing}).status());
    EXPECT_NE(files_.Contents("/a").substr(0, 512).find(unknown),
              std::string::npos);
    EXPECT_EQ(Must(ReadImageInfo(files_, "/a", {})).backing->name, backing);
    EXPECT_TRUE(ShowsAll());
  }
  files_.SetContents("/moved", files_.Contents("/img"));
  Must(AmendImage(files_, "/a", {.data_file = "moved"}).status());
  EXPECT_TRUE(ShowsAll());
  EXPECT_TRUE(IsClean(files_, "/a"));
}

// Extensions are padded to 8 bytes each, wherever the first one begins.
TEST_F(HostileQcow2Test, AHeaderMayHaveAnyLength) {
  const std::string good = files_.Contents("/a");
  const qcow2::Header header = Header();
  const size_t length = header.header_length;
  const size_t name = good.find("base", length);
  ASSERT_NE(name, std::string::npos);
  for (size_t more = 1; more < 8; ++more) {
    std::string bytes = good;
    Overwrite(
        bytes, length,
        std::string(more, '\0') + good.substr(length, name - length) + "base");
    Overwrite(bytes, 8, Big64(name + more));
    Overwrite(bytes, 96,
              Big64(uint64_t{header.refcount_order} << 32 | (length + more)));
    files_.SetContents("/a", bytes);
    EXPECT_TRUE(ShowsAll());
    for (const char* backing : {"./base", "base"}) {
      Must(AmendImage(files_, "/a", {.backing_file = backing}).status());
      EXPECT_TRUE(ShowsAll());
    }
    EXPECT_TRUE(IsClean(files_, "/a"));
  }
}

TEST_F(HostileQcow2Test, TheDataFileMustBeNamedAndTheBitSet) {
  const std::string good = files_.Contents("/a");
  SetFeatures(0, 0);
  EXPECT_TRUE(Fails(Open("/a", Access::kReadOnly), EINVAL,
                    "incompatible bit 2 is clear"));
  files_.SetContents("/a", good);
  // The extension becomes one that nobody knows.
  const size_t at = good.find("DATA");
  ASSERT_NE(at, std::string::npos);
  PokeFile(files_, "/a", at, "XXXX");
  EXPECT_TRUE(Fails(Open("/a", Access::kReadOnly), EINVAL,
                    "no extension has its name"));
  PokeFile(files_, "/a", at, std::string("DATA\xff\xff\xff\xff", 8));
  EXPECT_TRUE(
      Fails(Open("/a", Access::kReadOnly), EINVAL, "header extension at byte"));
}

TEST_F(HostileQcow2Test, NothingThatIsDoneToAHeaderHurtsAnother) {
  const std::string good = files_.Contents("/a");
  const std::string data = files_.Contents("/img");
  for (uint64_t offset = 0; offset < 200; ++offset) {
    for (const char value : {'\1', '\xff'}) {
      SCOPED_TRACE(absl::StrCat("byte ", offset, " is ", int{value}));
      files_.SetContents("/a", good);
      files_.SetContents("/img", data);
      PokeFile(files_, "/a", offset, std::string(1, value));
      Exercise("/a");
    }
  }
}

}  // namespace
}  // namespace flatcow
