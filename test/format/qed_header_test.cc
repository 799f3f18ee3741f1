// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "format/qed/header.h"
#include "model/disk_model.h"
#include "model/image_testing.h"

namespace flatcow::qed {
namespace {

constexpr uint64_t kFileSize = 1 << 20;

// Written out from the layout in flatcow-formats(5).
constexpr uint8_t kGolden[kHeaderBytes] = {
    'Q',  'E',  'D',  0,                             // magic
    0x00, 0x00, 0x01, 0x00,                          // cluster_size 65536
    0x04, 0x00, 0x00, 0x00,                          // table_size 4
    0x01, 0x00, 0x00, 0x00,                          // header_size 1
    0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // backing, no probe
    0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80,  // compat_features
    0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // autoclear_features
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,  // l1_table_offset 65536
    0x00, 0x02, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00,  // image_size 1 GiB + 512
    0x40, 0x00, 0x00, 0x00,                          // backing name at 64
    0x08, 0x00, 0x00, 0x00,                          // of 8 bytes
};

Header GoldenHeader() {
  Header header;
  header.cluster_size = 65536;
  header.table_size = 4;
  header.header_size = 1;
  header.features = kFeatureBackingFile | kFeatureBackingFormatNoProbe;
  header.compat_features = 0x8000000000000002;
  header.autoclear_features = 3;
  header.l1_table_offset = 65536;
  header.image_size = (uint64_t{1} << 30) + 512;
  header.backing_filename_offset = 64;
  header.backing_filename_size = 8;
  return header;
}

absl::StatusOr<Header> Reparse(const Header& header,
                               uint64_t file_size = kFileSize) {
  return ParseHeader(SerializeHeader(header), file_size);
}

TEST(QedHeaderTest, GoldenBytes) {
  EXPECT_EQ(Must(ParseHeader(kGolden, kFileSize)), GoldenHeader());
  const auto bytes = SerializeHeader(GoldenHeader());
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), std::begin(kGolden)));
}

TEST(QedHeaderTest, RoundTrip) {
  const uint64_t seed = SeedFor(0);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 1000; ++i) {
    Header header;
    header.cluster_size = 1u << (12 + random() % 15);
    header.table_size = 1u << (random() % 5);
    header.header_size = static_cast<uint32_t>(1 + random() % 3);
    header.features = random() & 7;
    header.compat_features = random();
    header.autoclear_features = random();
    header.l1_table_offset =
        header.header_bytes() + random() % 9 * header.cluster_size;
    header.image_size =
        random() %
        (MaxImageSize(header.cluster_size, header.table_size) / 512 + 1) * 512;
    header.backing_filename_size = static_cast<uint32_t>(1 + random() % 1023);
    header.backing_filename_offset = static_cast<uint32_t>(
        64 + random() % (4096 - 64 - header.backing_filename_size));
    const uint64_t end = header.l1_table_offset + header.table_bytes();
    EXPECT_EQ(Must(Reparse(header, end)), header);
    EXPECT_FALSE(Reparse(header, end - 1).ok());
  }
}

TEST(QedHeaderTest, CutAnywhere) {
  for (size_t length = 0; length < kHeaderBytes; ++length) {
    const auto bytes = absl::MakeConstSpan(kGolden).first(length);
    EXPECT_TRUE(Fails(ParseHeader(bytes, length), EINVAL,
                      absl::StrCat("ends after ", length, " bytes")));
    EXPECT_EQ(HasMagic(bytes), length >= 4);
  }
}

TEST(QedHeaderTest, EveryBitOfTheMagicCounts) {
  for (size_t bit = 0; bit < 32; ++bit) {
    auto bytes = SerializeHeader(GoldenHeader());
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    EXPECT_FALSE(HasMagic(bytes));
    EXPECT_TRUE(Fails(ParseHeader(bytes, kFileSize), EINVAL, "magic (byte 0)"));
  }
}

TEST(QedHeaderTest, EveryUnknownFeatureIsRefused) {
  for (int bit = 0; bit < 64; ++bit) {
    Header header = GoldenHeader();
    header.features |= uint64_t{1} << bit;
    if (bit < 3) {
      EXPECT_TRUE(Reparse(header).ok());
    } else {
      EXPECT_TRUE(Fails(Reparse(header), ENOTSUP, "features (byte 16)"));
    }
  }
}

struct Limit {
  const char* field;
  std::function<void(Header&)> change;
  bool valid;
};

TEST(QedHeaderTest, Limits) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  const std::vector<Limit> kLimits = {
      {"cluster_size", [](Header& h) { h.cluster_size = 0; }, false},
      {"cluster_size", [](Header& h) { h.cluster_size = 2048; }, false},
      {"cluster_size", [](Header& h) { h.cluster_size = 65535; }, false},
      {"cluster_size", [](Header& h) { h.cluster_size = 65537; }, false},
      {"cluster_size", [](Header& h) { h.cluster_size = 128 << 20; }, false},
      {"cluster_size", [](Header& h) { h.cluster_size = 1u << 31; }, false},
      {"table_size", [](Header& h) { h.table_size = 0; }, false},
      {"table_size", [](Header& h) { h.table_size = 1; }, true},
      {"table_size", [](Header& h) { h.table_size = 3; }, false},
      {"table_size", [](Header& h) { h.table_size = 8; }, true},
      {"table_size", [](Header& h) { h.table_size = 32; }, false},
      {"table_size", [](Header& h) { h.table_size = 1u << 31; }, false},
      {"header_size", [](Header& h) { h.header_size = 0; }, false},
      {"header_size", [](Header& h) { h.header_size = 65536; }, false},
      {"header_size", [](Header& h) { h.header_size = ~0u; }, false},
      {"l1_table_offset", [](Header& h) { h.header_size = 2; }, false},
      {"l1_table_offset", [](Header& h) { h.l1_table_offset = 0; }, false},
      {"l1_table_offset", [](Header& h) { h.l1_table_offset = 65535; }, false},
      {"l1_table_offset", [](Header& h) { h.l1_table_offset = 65537; }, false},
      {"l1_table_offset",
       [](Header& h) { h.l1_table_offset = kFileSize - 4 * 65536; }, true},
      {"l1_table_offset",
       [](Header& h) { h.l1_table_offset = kFileSize - 3 * 65536; }, false},
      {"l1_table_offset", [](Header& h) { h.l1_table_offset = kFileSize; },
       false},
      {"l1_table_offset",
       [](Header& h) { h.l1_table_offset = kMax & ~uint64_t{65535}; }, false},
      {"image_size", [](Header& h) { h.image_size = 0; }, true},
      {"image_size", [](Header& h) { h.image_size = 511; }, false},
      {"image_size", [](Header& h) { h.image_size = 513; }, false},
      {"image_size", [](Header& h) { h.image_size = uint64_t{64} << 40; },
       true},
      {"image_size",
       [](Header& h) { h.image_size = (uint64_t{64} << 40) + 512; }, false},
      {"image_size", [](Header& h) { h.image_size = kMax & ~511ull; }, false},
      {"backing_filename_size", [](Header& h) { h.backing_filename_size = 0; },
       false},
      {"backing_filename_size",
       [](Header& h) { h.backing_filename_size = 4095; }, true},
      {"backing_filename_size",
       [](Header& h) { h.backing_filename_size = 4096; }, false},
      {"backing_filename_size",
       [](Header& h) { h.backing_filename_size = ~0u; }, false},
      {"backing_filename_offset",
       [](Header& h) { h.backing_filename_offset = 63; }, false},
      {"backing_filename_offset",
       [](Header& h) { h.backing_filename_offset = 0; }, false},
      {"backing_filename_offset",
       [](Header& h) { h.backing_filename_offset = 65536 - 8; }, true},
      {"backing_filename_offset",
       [](Header& h) { h.backing_filename_offset = 65536 - 7; }, false},
      {"backing_filename_offset",
       [](Header& h) { h.backing_filename_offset = ~0u; }, false},
  };
  for (size_t i = 0; i < kLimits.size(); ++i) {
    SCOPED_TRACE(absl::StrCat("limit ", i));
    Header header = GoldenHeader();
    kLimits[i].change(header);
    if (kLimits[i].valid) {
      EXPECT_EQ(Must(Reparse(header)), header);
    } else {
      EXPECT_TRUE(Fails(Reparse(header), EINVAL, kLimits[i].field));
    }
  }
}

TEST(QedHeaderTest, NameFieldsDoNotMatterWithoutABackingFile) {
  Header header = GoldenHeader();
  header.features = 0;
  header.backing_filename_offset = ~0u;
  header.backing_filename_size = ~0u;
  EXPECT_TRUE(Reparse(header).ok());
}

// Any bytes at all: an answer, and one that serialises to what was parsed.
TEST(QedHeaderTest, RandomBytes) {
  const uint64_t seed = SeedFor(1);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<uint8_t> bytes(std::begin(kGolden), std::end(kGolden));
    for (uint64_t n = 0; n < 1 + random() % 3; ++n) {
      bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    }
    const auto header = ParseHeader(bytes, kFileSize);
    if (!header.ok()) continue;
    const auto again = SerializeHeader(*header);
    EXPECT_TRUE(std::equal(again.begin(), again.end(), bytes.begin()));
  }
}

TEST(QedMaxImageSizeTest, Values) {
  constexpr uint64_t kMost = (uint64_t{1} << 63) - 512;
  constexpr uint32_t kMiB = 1 << 20;
  EXPECT_EQ(MaxImageSize(4096, 1), uint64_t{1} << 30);
  EXPECT_EQ(MaxImageSize(65536, 4), uint64_t{64} << 40);
  EXPECT_EQ(MaxImageSize(kMiB, 16), uint64_t{1} << 62);
  // The largest that QEMU's arithmetic can hold, and what lies past 2^63.
  for (const auto& [cluster, table] :
       {std::pair{2 * kMiB, 8u}, {8 * kMiB, 1u}}) {
    EXPECT_EQ(MaxImageSize(cluster, table), kMost);
    EXPECT_EQ(MaxImageSize(cluster, table, /*as_qemu=*/true), kMost);
  }
}

TEST(QedMaxImageSizeTest, GeometriesThatWrapInQemu) {
  constexpr uint32_t kMiB = 1 << 20;
  for (const auto& [cluster, table] : {std::pair{2 * kMiB, 16u},
                                       {4 * kMiB, 4u},
                                       {4 * kMiB, 16u},
                                       {8 * kMiB, 2u},
                                       {64 * kMiB, 1u},
                                       {64 * kMiB, 16u}}) {
    SCOPED_TRACE(absl::StrCat(cluster, " ", table));
    EXPECT_EQ(MaxImageSize(cluster, table, /*as_qemu=*/true), 0u);
    EXPECT_EQ(MaxImageSize(cluster, table), (uint64_t{1} << 63) - 512);
  }
  EXPECT_NE(MaxImageSize(4 * kMiB, 2, /*as_qemu=*/true), 0u);
  EXPECT_NE(MaxImageSize(2 * kMiB, 8, /*as_qemu=*/true), 0u);
}

}  // namespace
}  // namespace flatcow::qed
