// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "format/addcow/draft_header.h"
#include "format/addcow/header.h"
#include "model/disk_model.h"
#include "model/image_testing.h"

namespace flatcow::addcow {
namespace {

constexpr uint64_t kFileSize = 4096 + 65536;

// base.raw, raw, and img.raw: names from the first byte that may hold one, so
// that the word at 44 is "img.".
constexpr uint8_t kJune[kParsedBytes] = {
    'A',  'D',  'D',  '_',  'C',  'O',  'W',  0xff,  // magic
    0x01, 0x00, 0x00, 0x00,                          // version
    0x24, 0x00, 0x00, 0x00,                          // backing name at 36
    0x08, 0x00, 0x00, 0x00,                          // of 8 bytes
    0x2c, 0x00, 0x00, 0x00,                          // image name at 44
    0x07, 0x00, 0x00, 0x00,                          // of 7 bytes
    0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // backing file, it is raw
    'b',  'a',  's',  'e',  '.',  'r',  'a',  'w',   //
    'i',  'm',  'g',  '.',  'r',  'a',  'w',  0,
};

// The same as the draft of July has it.
constexpr uint8_t kJuly[kParsedBytes + 15] = {
    'A',  'D',  'D',  '_',  'C',  'O',  'W',  0xff,  // magic
    0x01, 0x00, 0x00, 0x00,                          // version
    0x50, 0x00, 0x00, 0x00,                          // backing name at 80
    0x08, 0x00, 0x00, 0x00,                          // of 8 bytes
    0x58, 0x00, 0x00, 0x00,                          // image name at 88
    0x07, 0x00, 0x00, 0x00,                          // of 7 bytes
    0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // backing and image file
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // optional features
    0x01, 0x00, 0x00, 0x00,                          // header pages
    'r',  'a',  'w',  0,    0,    0,    0,    0,     // backing format
    0,    0,    0,    0,    0,    0,    0,    0,     //
    'r',  'a',  'w',  0,    0,    0,    0,    0,     // image format
    0,    0,    0,    0,    0,    0,    0,    0,     //
    'b',  'a',  's',  'e',  '.',  'r',  'a',  'w',   //
    'i',  'm',  'g',  '.',  'r',  'a',  'w',
};

using Bytes = std::vector<uint8_t>;

Bytes June() { return {std::begin(kJune), std::end(kJune)}; }
Bytes July() { return {std::begin(kJuly), std::end(kJuly)}; }

Header JuneHeader() {
  Header header;
  header.layout = Layout::kJune2012;
  header.backing_name_offset = 36;
  header.backing_name_size = 8;
  header.image_name_offset = 44;
  header.image_name_size = 7;
  header.header_size = 4096;
  header.backing_format = "raw";
  header.image_format = "raw";
  return header;
}

Header JulyHeader() {
  Header header = JuneHeader();
  header.layout = Layout::kJuly2012;
  header.backing_name_offset = 80;
  header.image_name_offset = 88;
  return header;
}

// Writes little-endian words over what is there.
Bytes With(Bytes bytes, size_t offset, const std::vector<uint32_t>& words) {
  for (const uint32_t word : words) {
    for (int shift = 0; shift < 32; shift += 8) {
      bytes[offset++] = static_cast<uint8_t>(word >> shift);
    }
  }
  return bytes;
}

absl::StatusOr<Header> Parse(const Bytes& bytes) {
  return ParseHeader(bytes, kFileSize);
}

TEST(AddCowDraftHeaderTest, GoldenBytes) {
  EXPECT_EQ(Must(Parse(June())), JuneHeader());
  EXPECT_EQ(Must(Parse(July())), JulyHeader());
  EXPECT_EQ(JuneHeader().cluster_size(), 65536u);
  EXPECT_TRUE(HasMagic(June()) && HasMagic(July()));
  // The names are not overwritten.
  const Bytes june = June();
  EXPECT_EQ(SerializeHeader(JuneHeader()),
            Bytes(june.begin(), june.begin() + 36));
  const Bytes july = July();
  EXPECT_EQ(SerializeHeader(JulyHeader()),
            Bytes(july.begin(), july.begin() + 80));
}

TEST(AddCowDraftHeaderTest, AnImageOfJuneWithoutBackingFile) {
  const Bytes bytes =
      With(With(June(), 12, {0, 0, 36, 7}), 28, {0, 0, 0, 0, 0, 0});
  const Header header = Must(Parse(bytes));
  EXPECT_EQ(header.layout, Layout::kJune2012);
  EXPECT_EQ(header.backing_name_offset, 0u);
  EXPECT_EQ(header.backing_format, "");
}

TEST(AddCowDraftHeaderTest, JuneFindsWhatIsNotRawByMagic) {
  const Header header = Must(Parse(With(June(), 28, {1})));
  EXPECT_EQ(header.backing_format, "");
  EXPECT_EQ(SerializeHeader(header)[28], 1);
}

TEST(AddCowDraftHeaderTest, WhereALayoutSaysAllAllocated) {
  EXPECT_FALSE(AllAllocatedWord(JuneHeader()).has_value());
  const FlagWord word = *AllAllocatedWord(JulyHeader());
  EXPECT_EQ(word.offset, 28u);
  EXPECT_EQ(word.value, 7u);
  Header header = Must(Parse(With(July(), 28, {7})));
  EXPECT_TRUE(header.all_allocated());
  header.set_all_allocated(false);
  EXPECT_EQ(header, JulyHeader());
  // The bit of the final layout is an optional feature here, like any other.
  header = Must(Parse(With(July(), 36, {1, 1u << 31})));
  EXPECT_FALSE(header.all_allocated());
  EXPECT_EQ(SerializeHeader(header)[36], 1);
  EXPECT_EQ(SerializeHeader(header)[43], 0x80);
}

TEST(AddCowDraftHeaderTest, WhichDraftItIs) {
  const auto layout = [](const Bytes& bytes) {
    return Must(Parse(bytes)).layout;
  };
  // Nothing at 44: the names are elsewhere.
  const Bytes far_names = With(With(June(), 12, {80, 8, 88, 7}), 44, {0, 0});
  EXPECT_EQ(layout(far_names), Layout::kJune2012);
  // A name that has the byte 1 there.
  const Bytes one_in_name = With(With(June(), 12, {36, 9, 100, 7}), 44, {1, 0});
  EXPECT_EQ(layout(one_in_name), Layout::kJune2012);
  // A name that ends there, and one that begins there.
  EXPECT_EQ(layout(With(With(June(), 12, {36, 10, 80, 7}), 44, {0x7777})),
            Layout::kJune2012);
  EXPECT_EQ(layout(With(With(June(), 12, {80, 8, 46, 7}), 44, {0x77770000})),
            Layout::kJune2012);

  // Neither: one page, and a name where July has its formats.
  EXPECT_TRUE(Fails(Parse(With(July(), 20, {72})), EINVAL, "(byte 44) is 1"));
  EXPECT_TRUE(Fails(Parse(With(July(), 12, {79})), EINVAL, "(byte 44) is 1"));
  // Two pages, or something that is no part of a name.
  EXPECT_TRUE(Fails(Parse(With(July(), 44, {2})), EINVAL, "(byte 44) is 2"));
  EXPECT_TRUE(Fails(Parse(With(far_names, 44, {0x01000000})), EINVAL,
                    "(byte 44) is 16777216"));
  EXPECT_TRUE(Fails(Parse(With(one_in_name, 16, {8})), EINVAL, "(byte 44)"));
}

TEST(AddCowDraftHeaderTest, WhatIsRefused) {
  struct Rule {
    Bytes bytes;
    int error;
    const char* message;
  };
  const Rule kRules[] = {
      {With(June(), 8, {0}), EINVAL, "version (byte 8) is 0, expected 1"},
      {With(July(), 8, {2}), EINVAL, "version (byte 8) is 2, expected 1"},
      // Features.
      {With(June(), 28, {7}), ENOTSUP, "(byte 28) has unknown bits 0x4"},
      {With(June(), 28, {3, 1}), ENOTSUP, "unknown bits 0x100000000"},
      {With(July(), 28, {11}), ENOTSUP, "(byte 28) has unknown bits 0x8"},
      {With(June(), 28, {2}), EINVAL, "is 0x2, expected bit 1 (backing file)"},
      {With(July(), 28, {2}), EINVAL, "is 0x2, expected bit 1 (backing file)"},
      {With(July(), 28, {1}), EINVAL, "is 0x1, expected bit 2 (image file)"},
      {With(July(), 12, {0, 0}), EINVAL,
       "is 0x3, expected bit 1 (backing file)"},
      {With(July(), 20, {0, 0}), EINVAL, "is 0x3, expected bit 2 (image file)"},
      {With(With(July(), 28, {1}), 20, {0, 0}), EINVAL,
       "image file name (byte 20) size is 0"},
      // The backing file's name.
      {With(June(), 12, {35}), EINVAL,
       "backing file name (byte 12) offset is 35, expected at least 36"},
      {With(June(), 12, {4095, 1}), EINVAL, "(byte 12) offset is 4095"},
      {With(June(), 16, {0}), EINVAL, "backing file name size (byte 16) is 0"},
      {With(With(June(), 12, {0}), 28, {0}), EINVAL,
       "backing file name size (byte 16) is 8"},
      {With(July(), 12, {4089}), EINVAL, "(byte 12) offset is 4089"},
      {With(July(), 12, {~0u}), EINVAL, "(byte 12) offset is 4294967295"},
      {With(July(), 16, {4096}), EINVAL, "(byte 12) size is 4096"},
      // The image file's.
      {With(With(June(), 20, {35, 20}), 28, {3}), EINVAL,
       "image file name (byte 20) offset is 35, expected at least 36"},
      {With(With(June(), 20, {0, 0}), 44, {0}), EINVAL,
       "image file name (byte 20) size is 0"},
      {With(July(), 24, {0}), EINVAL, "image file name (byte 20) size is 0"},
      {With(July(), 20, {4090}), EINVAL, "(byte 20) offset is 4090"},
      {With(July(), 20, {4095, 1}), EINVAL, "(byte 20) offset is 4095"},
      // Formats.
      {With(July(), 48, {0}), EINVAL, "file format (byte 48) is empty"},
      {With(July(), 64, {0}), EINVAL, "image file format (byte 64) is empty"},
      {With(July(), 56, {1}), EINVAL, "file format (byte 48) is not a name"},
      {With(July(), 64, {0x207761}), EINVAL, "(byte 64) is not a name"},
      {With(With(July(), 12, {0, 0}), 28, {2}), EINVAL,
       "backing file format (byte 48) is raw, expected empty"},
  };
  for (const Rule& rule : kRules) {
    EXPECT_TRUE(Fails(Parse(rule.bytes), rule.error, rule.message));
  }
}

TEST(AddCowDraftHeaderTest, TheLastPlaceOfAName) {
  EXPECT_EQ(Must(Parse(With(July(), 12, {4088}))).backing_name_offset, 4088u);
  EXPECT_EQ(Must(Parse(With(July(), 20, {4094, 2}))).image_name_size, 2u);
  const Extent area = NameArea(JuneHeader());
  EXPECT_EQ(area, NameArea(JulyHeader()));
  EXPECT_EQ(area.offset, 80u);
  EXPECT_EQ(area.end(), 4095u);
}

TEST(AddCowDraftHeaderTest, AFileThatEndsInTheHeader) {
  for (size_t length = 0; length < kParsedBytes; ++length) {
    const Bytes june = June();
    const Bytes bytes(june.begin(),
                      june.begin() + static_cast<ptrdiff_t>(length));
    EXPECT_TRUE(Fails(ParseHeader(bytes, length), EINVAL));
    EXPECT_EQ(HasMagic(bytes), length >= 8);
  }
  EXPECT_TRUE(Fails(ParseHeader(July(), 4095), EINVAL,
                    "size is 4095, expected at least 4096"));
  EXPECT_EQ(Must(ParseHeader(July(), 4096)), JulyHeader());
}

TEST(AddCowDraftHeaderTest, ANameThatMovesLeavesZeroesWhereItStood) {
  Header header = JuneHeader();
  header.backing_name_offset = 100;
  EXPECT_EQ(SerializeHeader(header).size(), 36u);
  header.image_name_offset = 120;
  const Bytes bytes = SerializeHeader(header);
  EXPECT_EQ(bytes.size(), 80u);
  EXPECT_EQ(Must(Parse(bytes)), header);
}

TEST(AddCowDraftHeaderTest, RandomBytes) {
  const uint64_t seed = SeedFor(1);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  std::mt19937_64 random(seed);
  int parsed = 0;
  for (int i = 0; i < 20'000; ++i) {
    Bytes bytes = i % 2 == 0 ? June() : July();
    for (uint64_t n = 0; n < 1 + random() % 3; ++n) {
      bytes[random() % kParsedBytes] = static_cast<uint8_t>(random());
    }
    const auto header = Parse(bytes);
    if (!header.ok()) continue;
    ++parsed;
    const Bytes written = SerializeHeader(*header);
    std::copy(written.begin(), written.end(), bytes.begin());
    EXPECT_EQ(Must(Parse(bytes)), *header);
  }
  EXPECT_GT(parsed, 1000);
}

}  // namespace
}  // namespace flatcow::addcow
