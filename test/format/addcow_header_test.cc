// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "format/addcow/header.h"
#include "model/disk_model.h"
#include "model/image_testing.h"

namespace flatcow::addcow {
namespace {

constexpr uint64_t kFileSize = 131072;

// Of an image over base.raw with img.raw, made by another implementation
// (test/golden/cases/README.md).
constexpr uint8_t kGolden[kHeaderBytes] = {
    'A',  'C',  'O',  'W',                           // magic
    0x4c, 0x00, 0x00, 0x00,                          // backing name at 76
    0x08, 0x00, 0x00, 0x00,                          // of 8 bytes
    0x54, 0x00, 0x00, 0x00,                          // image name at 84
    0x07, 0x00, 0x00, 0x00,                          // of 7 bytes
    0x10, 0x00, 0x00, 0x00,                          // cluster bits 16
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // features
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // compatible features
    0x00, 0x00, 0x01, 0x00,                          // HEADER_SIZE 65536
    'r',  'a',  'w',  0,    0,    0,    0,    0,     // backing format
    0,    0,    0,    0,    0,    0,    0,    0,     //
    'r',  'a',  'w',  0,    0,    0,    0,    0,     // image format
    0,    0,    0,    0,    0,    0,    0,    0,
};

Header GoldenHeader() {
  Header header;
  header.backing_name_offset = 76;
  header.backing_name_size = 8;
  header.image_name_offset = 84;
  header.image_name_size = 7;
  header.cluster_bits = 16;
  header.header_size = 65536;
  header.backing_format = "raw";
  header.image_format = "raw";
  return header;
}

absl::StatusOr<Header> Reparse(const Header& header,
                               uint64_t file_size = kFileSize) {
  return ParseHeader(SerializeHeader(header), file_size);
}

TEST(AddCowHeaderTest, GoldenBytes) {
  EXPECT_EQ(Must(ParseHeader(kGolden, kFileSize)), GoldenHeader());
  const auto bytes = SerializeHeader(GoldenHeader());
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), std::begin(kGolden)));
}

TEST(AddCowHeaderTest, RoundTrip) {
  const uint64_t seed = SeedFor(0);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 1000; ++i) {
    Header header;
    header.cluster_bits = static_cast<uint32_t>(9 + random() % 18);
    header.compat_features = random();
    header.header_size = static_cast<uint32_t>(10000 + random() % 50000);
    header.image_format = std::string(1 + random() % 16, 'f');
    header.image_name_size = static_cast<uint32_t>(1 + random() % 4095);
    header.image_name_offset = static_cast<uint32_t>(
        76 + random() % (header.header_size - 75 - header.image_name_size));
    if (random() % 2 == 0) {
      header.backing_format = std::string(1 + random() % 16, 'b');
      header.backing_name_size = static_cast<uint32_t>(1 + random() % 4095);
      header.backing_name_offset = static_cast<uint32_t>(
          76 + random() % (header.header_size - 75 - header.backing_name_size));
    }
    EXPECT_EQ(Must(Reparse(header, header.header_size)), header);
    EXPECT_TRUE(
        Fails(Reparse(header, header.header_size - 1), EINVAL, "HEADER_SIZE"));
  }
}

TEST(AddCowHeaderTest, CutAnywhere) {
  for (size_t length = 0; length < kHeaderBytes; ++length) {
    const auto bytes = absl::MakeConstSpan(kGolden).first(length);
    EXPECT_TRUE(Fails(ParseHeader(bytes, length), EINVAL,
                      absl::StrCat("ends after ", length, " bytes")));
    EXPECT_EQ(HasMagic(bytes), length >= 4);
  }
}

TEST(AddCowHeaderTest, EveryBitOfTheMagicCounts) {
  for (size_t bit = 0; bit < 32; ++bit) {
    auto bytes = SerializeHeader(GoldenHeader());
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    EXPECT_FALSE(HasMagic(bytes));
    EXPECT_TRUE(Fails(ParseHeader(bytes, kFileSize), EINVAL, "magic (byte 0)"));
  }
}

TEST(AddCowHeaderTest, EveryFeatureIsRefusedEveryCompatibleOneIsNot) {
  for (int bit = 0; bit < 64; ++bit) {
    Header header = GoldenHeader();
    header.features = uint64_t{1} << bit;
    EXPECT_TRUE(Fails(Reparse(header), ENOTSUP, "features (byte 24)"));
    header = GoldenHeader();
    header.compat_features = uint64_t{1} << bit;
    EXPECT_EQ(Must(Reparse(header)), header);
    EXPECT_EQ(header.all_allocated(), bit == 0);
  }
}

struct Limit {
  const char* field;
  std::function<void(Header&)> change;
  bool valid;
};

TEST(AddCowHeaderTest, Limits) {
  const std::vector<Limit> kLimits = {
      {"cluster bits", [](Header& h) { h.cluster_bits = 0; }, false},
      {"cluster bits", [](Header& h) { h.cluster_bits = 8; }, false},
      {"cluster bits", [](Header& h) { h.cluster_bits = 9; }, true},
      {"cluster bits", [](Header& h) { h.cluster_bits = 26; }, true},
      {"cluster bits", [](Header& h) { h.cluster_bits = 27; }, false},
      {"cluster bits", [](Header& h) { h.cluster_bits = 64; }, false},
      {"cluster bits", [](Header& h) { h.cluster_bits = ~0u; }, false},
      {"HEADER_SIZE", [](Header& h) { h.header_size = 0; }, false},
      {"HEADER_SIZE", [](Header& h) { h.header_size = 75; }, false},
      {"image file name", [](Header& h) { h.header_size = 76; }, false},
      {"HEADER_SIZE", [](Header& h) { h.header_size = 91; }, true},
      {"image file name", [](Header& h) { h.header_size = 90; }, false},
      {"HEADER_SIZE", [](Header& h) { h.header_size = kFileSize; }, true},
      {"HEADER_SIZE", [](Header& h) { h.header_size = kFileSize + 1; }, false},
      {"HEADER_SIZE", [](Header& h) { h.header_size = (64 << 20) + 1; }, false},
      {"HEADER_SIZE", [](Header& h) { h.header_size = ~0u; }, false},
      {"image file name", [](Header& h) { h.image_name_size = 0; }, false},
      {"image file name", [](Header& h) { h.image_name_size = 4095; }, true},
      {"image file name", [](Header& h) { h.image_name_size = 4096; }, false},
      {"image file name", [](Header& h) { h.image_name_size = ~0u; }, false},
      {"image file name", [](Header& h) { h.image_name_offset = 0; }, false},
      {"image file name", [](Header& h) { h.image_name_offset = 75; }, false},
      {"image file name", [](Header& h) { h.image_name_offset = 76; }, true},
      {"image file name", [](Header& h) { h.image_name_offset = 65536 - 7; },
       true},
      {"image file name", [](Header& h) { h.image_name_offset = 65536 - 6; },
       false},
      {"image file name", [](Header& h) { h.image_name_offset = ~0u; }, false},
      {"backing file name", [](Header& h) { h.backing_name_size = 0; }, false},
      {"backing file name", [](Header& h) { h.backing_name_size = 4095; },
       true},
      {"backing file name", [](Header& h) { h.backing_name_size = 4096; },
       false},
      {"backing file name", [](Header& h) { h.backing_name_offset = 0; },
       false},
      {"backing file name", [](Header& h) { h.backing_name_offset = 75; },
       false},
      {"backing file name",
       [](Header& h) { h.backing_name_offset = 65536 - 8; }, true},
      {"backing file name",
       [](Header& h) { h.backing_name_offset = 65536 - 7; }, false},
      {"backing file name", [](Header& h) { h.backing_name_offset = ~0u; },
       false},
      {"backing file format", [](Header& h) { h.backing_format = ""; }, false},
      {"backing file format",
       [](Header& h) { h.backing_format = "sixteen-letters."; }, true},
      {"backing file format",
       [](Header& h) { h.backing_format = std::string("r\0w", 3); }, false},
      {"backing file format", [](Header& h) { h.backing_format = "r w"; },
       false},
      {"backing file format", [](Header& h) { h.backing_format = "\xff"; },
       false},
      {"image file format", [](Header& h) { h.image_format = ""; }, false},
      {"image file format",
       [](Header& h) { h.image_format = "sixteen-letters."; }, true},
      {"image file format",
       [](Header& h) { h.image_format = std::string("\0raw", 4); }, false},
      {"backing file format",
       [](Header& h) { h.backing_name_offset = h.backing_name_size = 0; },
       false},
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

TEST(AddCowHeaderTest, RandomBytes) {
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

}  // namespace
}  // namespace flatcow::addcow
