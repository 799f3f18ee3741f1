// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "format/qcow2/header.h"
#include "format/qcow2/l2_entry.h"
#include "format/qcow2/refcounts.h"
#include "model/image_testing.h"

namespace flatcow::qcow2 {
namespace {

constexpr uint64_t kFileSize = 1 << 20;

// Written out from the layout in flatcow-formats(5).
constexpr uint8_t kGolden[kWrittenBytes] = {
    'Q',  'F',  'I',  0xfb,                          // magic
    0x00, 0x00, 0x00, 0x03,                          // version
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x90,  // backing name at 144
    0x00, 0x00, 0x00, 0x08,                          // of 8 bytes
    0x00, 0x00, 0x00, 0x10,                          // clusters of 64 KiB
    0x00, 0x00, 0x00, 0x00, 0x40, 0x00, 0x02, 0x00,  // size 1 GiB + 512
    0x00, 0x00, 0x00, 0x00,                          // not encrypted
    0x00, 0x00, 0x00, 0x03,                          // L1 entries
    0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00,  // L1 table at 0x30000
    0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,  // refcount table
    0x00, 0x00, 0x00, 0x01,                          // of 1 cluster
    0x00, 0x00, 0x00, 0x00,                          // no snapshots
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  //
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05,  // dirty, data file
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x81,  // lazy refcounts, unknown
    0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01,  // bitmaps, unknown
    0x00, 0x00, 0x00, 0x03,                          // refcounts of 8 bits
    0x00, 0x00, 0x00, 0x70,                          // header length 112
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // compression: deflate
};

Header GoldenHeader() {
  Header header;
  header.version = 3;
  header.backing_name_offset = 144;
  header.backing_name_size = 8;
  header.cluster_bits = 16;
  header.size = (uint64_t{1} << 30) + 512;
  header.l1_entries = 3;
  header.l1_offset = 0x30000;
  header.refcount_table_offset = 0x10000;
  header.refcount_table_clusters = 1;
  header.incompatible = kIncompatibleDirty | kIncompatibleDataFile;
  header.compatible = kCompatibleLazyRefcounts | 0x80;
  header.autoclear = kAutoclearBitmaps | uint64_t{1} << 63;
  header.refcount_order = 3;
  header.header_length = 112;
  return header;
}

absl::StatusOr<Header> Reparse(const Header& header,
                               uint64_t file_size = kFileSize) {
  return ParseHeader(SerializeHeader(header), file_size);
}

TEST(Qcow2HeaderTest, GoldenBytes) {
  EXPECT_EQ(Must(ParseHeader(kGolden, kFileSize)), GoldenHeader());
  const auto bytes = SerializeHeader(GoldenHeader());
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), std::begin(kGolden)));
}

TEST(Qcow2HeaderTest, Version2HasNoFeatures) {
  std::vector<uint8_t> bytes(kGolden, kGolden + kVersion2Bytes);
  bytes[7] = 2;
  bytes[15] = 72;
  const Header header = Must(ParseHeader(bytes, kFileSize));
  EXPECT_EQ(header.version, 2u);
  EXPECT_EQ(header.incompatible, 0u);
  EXPECT_EQ(header.refcount_order, 4u);
  EXPECT_EQ(header.header_length, 72u);
}

struct Rule {
  std::string name;
  std::function<void(Header&)> breaks;
  int error;
  std::string field;
};
void PrintTo(const Rule& rule, std::ostream* out) { *out << rule.name; }

class BrokenRuleTest : public testing::TestWithParam<Rule> {};

TEST_P(BrokenRuleTest, IsRefusedByName) {
  Header header = GoldenHeader();
  GetParam().breaks(header);
  EXPECT_TRUE(Fails(Reparse(header), GetParam().error, GetParam().field));
}

INSTANTIATE_TEST_SUITE_P(
    Rules, BrokenRuleTest,
    testing::Values(
        Rule{"version_1", [](Header& h) { h.version = 1; }, ENOTSUP,
             "version (byte 4) is 1"},
        Rule{"version_4", [](Header& h) { h.version = 4; }, ENOTSUP, "is 4"},
        Rule{"small_cluster", [](Header& h) { h.cluster_bits = 8; }, EINVAL,
             "cluster bits (byte 20) is 8, expected 9 to 21"},
        Rule{"large_cluster", [](Header& h) { h.cluster_bits = 22; }, EINVAL,
             "cluster bits"},
        Rule{"size", [](Header& h) { h.size = uint64_t{1} << 63; }, EINVAL,
             "size (byte 24)"},
        Rule{"aes", [](Header& h) { h.crypt_method = 1; }, ENOTSUP, "AES"},
        Rule{"luks", [](Header& h) { h.crypt_method = 2; }, ENOTSUP, "LUKS"},
        Rule{"crypt_method", [](Header& h) { h.crypt_method = 3; }, EINVAL,
             "crypt method (byte 32)"},
        Rule{"short_l1", [](Header& h) { h.l1_entries = 2; }, EINVAL,
             "L1 entries (byte 36) is 2, expected at least 3"},
        Rule{"huge_l1", [](Header& h) { h.l1_entries = 0xffffffff; }, EINVAL,
             "L1 entries (byte 36)"},
        Rule{"unaligned_l1", [](Header& h) { h.l1_offset += 512; }, EINVAL,
             "L1 table offset (byte 40)"},
        Rule{"l1_in_header", [](Header& h) { h.l1_offset = 0; }, EINVAL,
             "L1 table offset"},
        Rule{"l1_past_the_end", [](Header& h) { h.l1_offset = kFileSize; },
             EINVAL, "L1 table offset"},
        Rule{"no_refcount_table",
             [](Header& h) { h.refcount_table_offset = 0; }, EINVAL,
             "refcount table offset (byte 48)"},
        Rule{"far_refcount_table",
             [](Header& h) { h.refcount_table_offset = uint64_t{1} << 60; },
             EINVAL, "refcount table offset"},
        Rule{"refcount_table_of_nothing",
             [](Header& h) { h.refcount_table_clusters = 0; }, EINVAL,
             "refcount table clusters (byte 56) is 0, expected 1 to 128"},
        Rule{"snapshots", [](Header& h) { h.snapshots = 1; }, EINVAL,
             "snapshots (byte 60)"},
        Rule{"unknown_feature", [](Header& h) { h.incompatible |= 0x20; },
             ENOTSUP, "unknown bits 0x20"},
        Rule{"raw_without_data_file",
             [](Header& h) {
               h.incompatible = 0;
               h.autoclear = kAutoclearDataFileRaw;
             },
             EINVAL, "autoclear features (byte 88)"},
        Rule{"raw_with_backing_file",
             [](Header& h) { h.autoclear = kAutoclearDataFileRaw; }, EINVAL,
             "backing file name offset"},
        Rule{"refcount_order", [](Header& h) { h.refcount_order = 7; }, EINVAL,
             "refcount order (byte 96) is 7, expected 0 to 6"},
        Rule{"header_length", [](Header& h) { h.header_length = 96; }, EINVAL,
             "header length (byte 100)"},
        Rule{"zstd_without_feature",
             [](Header& h) { h.compression_type = kCompressionZstd; }, EINVAL,
             "compression type (byte 104)"},
        Rule{"feature_without_zstd",
             [](Header& h) { h.incompatible |= kIncompatibleCompression; },
             EINVAL, "compression type (byte 104)"},
        Rule{"unknown_compression",
             [](Header& h) {
               h.incompatible |= kIncompatibleCompression;
               h.compression_type = 2;
             },
             ENOTSUP, "compression type (byte 104) is 2"},
        Rule{"extended_l2_of_small_clusters",
             [](Header& h) {
               h.incompatible |= kIncompatibleExtendedL2;
               h.cluster_bits = 13;
               h.l1_entries = 1 << 10;
             },
             EINVAL, "at least 14"},
        Rule{"name_in_the_header", [](Header& h) { h.backing_name_offset = 8; },
             EINVAL, "backing file name offset (byte 8)"},
        Rule{"name_past_the_cluster",
             [](Header& h) { h.backing_name_offset = 65530; }, EINVAL,
             "backing file name offset"},
        Rule{"long_name", [](Header& h) { h.backing_name_size = 1024; }, EINVAL,
             "at most 1023"}),
    [](const auto& rule) { return rule.param.name; });

TEST(Qcow2HeaderTest, ShortFiles) {
  const std::vector<uint8_t> bytes(kGolden, kGolden + kWrittenBytes);
  for (size_t length = 0; length < kVersion3Bytes; ++length) {
    EXPECT_TRUE(
        Fails(ParseHeader(absl::MakeConstSpan(bytes).first(length), kFileSize),
              EINVAL))
        << length;
  }
}

TEST(RefcountsTest, EveryWidthFillsABlock) {
  for (uint32_t order = 0; order <= kMaxRefcountOrder; ++order) {
    Header header;
    header.cluster_bits = 9;
    header.refcount_order = order;
    const Refcounts refcounts(header);
    ASSERT_EQ(refcounts.per_block(), 4096u >> order);
    std::vector<uint64_t> words(64);
    const uint64_t max =
        order == 6 ? ~uint64_t{0} : (uint64_t{1} << (1 << order)) - 1;
    const auto count_of = [&](uint64_t cluster) {
      return (cluster * 0x9e3779b97f4a7c15) & max;
    };
    const uint64_t first = refcounts.per_block();
    for (uint64_t i = 0; i < refcounts.per_block(); ++i) {
      uint64_t& word = words.at(refcounts.WordOf(0, first + i));
      word = refcounts.Set(word, first + i, count_of(i));
    }
    for (uint64_t i = 0; i < refcounts.per_block(); ++i) {
      EXPECT_EQ(
          refcounts.Get(words.at(refcounts.WordOf(0, first + i)), first + i),
          count_of(i))
          << order << " " << i;
    }
  }
}

// By the specification: counts of less than a byte from its least significant
// bit on, the others big-endian.
TEST(RefcountsTest, BitsStandWhereTheFormatHasThem) {
  const auto bytes_of = [](uint32_t order, uint64_t cluster, uint64_t count) {
    Header header;
    header.refcount_order = order;
    return Little64(Refcounts(header).Set(0, cluster, count));
  };
  using std::string_literals::operator""s;
  EXPECT_EQ(bytes_of(0, 9, 1), "\0\2\0\0\0\0\0\0"s);
  EXPECT_EQ(bytes_of(1, 5, 3), "\0\x0c\0\0\0\0\0\0"s);
  EXPECT_EQ(bytes_of(2, 3, 5), "\0\x50\0\0\0\0\0\0"s);
  EXPECT_EQ(bytes_of(3, 2, 7), "\0\0\7\0\0\0\0\0"s);
  EXPECT_EQ(bytes_of(4, 1, 0x102), "\0\0\1\2\0\0\0\0"s);
  EXPECT_EQ(bytes_of(5, 1, 0x1020304), "\0\0\0\0\1\2\3\4"s);
  EXPECT_EQ(bytes_of(6, 0, 2), "\0\0\0\0\0\0\0\2"s);
}

TEST(Qcow2EntryTest, WhereCompressedClustersAre) {
  // 64 KiB: 54 bits of offset, then additional sectors.
  EXPECT_EQ(CompressedPlace(kEntryCompressed | uint64_t{3} << 54 | 0x12345, 16),
            (Extent{0x12345, 4 * 512 - 0x145}));
  // 512 bytes: 61 bits of offset.
  EXPECT_EQ(CompressedPlace(kEntryCompressed | 0x1000, 9),
            (Extent{0x1000, 512}));
}

TEST(Qcow2EntryTest, Kinds) {
  Header plain;
  EXPECT_EQ(KindOf(0, plain), UnitKind::kUnallocated);
  EXPECT_EQ(KindOf(kEntryCopied, plain), UnitKind::kUnallocated);
  EXPECT_EQ(KindOf(1, plain), UnitKind::kZero);
  EXPECT_EQ(KindOf(0x10001, plain), UnitKind::kZero);
  EXPECT_EQ(KindOf(0x10000, plain), UnitKind::kData);
  EXPECT_EQ(KindOf(kEntryCompressed | 5, plain), UnitKind::kCompressed);
  Header old = plain;
  old.version = 2;
  EXPECT_EQ(KindOf(1, old), UnitKind::kBad);
  Header with_file = plain;
  with_file.incompatible = kIncompatibleDataFile;
  EXPECT_EQ(KindOf(kEntryCopied, with_file), UnitKind::kData);
  EXPECT_EQ(KindOf(0, with_file), UnitKind::kUnallocated);
  EXPECT_EQ(KindOf(kEntryCompressed | 5, with_file), UnitKind::kBad);
}

TEST(Qcow2EntryTest, Subclusters) {
  constexpr uint64_t kBitmap = uint64_t{4} << 32 | 2;
  EXPECT_EQ(SubclusterKindOf(UnitKind::kData, kBitmap, 0),
            UnitKind::kUnallocated);
  EXPECT_EQ(SubclusterKindOf(UnitKind::kData, kBitmap, 1), UnitKind::kData);
  EXPECT_EQ(SubclusterKindOf(UnitKind::kData, kBitmap, 2), UnitKind::kZero);
  EXPECT_EQ(SubclusterKindOf(UnitKind::kUnallocated, kBitmap, 1),
            UnitKind::kBad);
  EXPECT_EQ(SubclusterKindOf(UnitKind::kUnallocated, kBitmap, 2),
            UnitKind::kZero);
  EXPECT_EQ(SubclusterKindOf(UnitKind::kData, uint64_t{1} << 32 | 1, 0),
            UnitKind::kBad);
  EXPECT_EQ(SubclusterKindOf(UnitKind::kCompressed, kBitmap, 2),
            UnitKind::kCompressed);
}

}  // namespace
}  // namespace flatcow::qcow2
