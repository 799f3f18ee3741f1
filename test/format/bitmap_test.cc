// SPDX-License-Identifier: Apache-2.0
#include "format/addcow/bitmap.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/disk_model.h"

namespace flatcow::addcow {
namespace {

// Bit n as a bool, the plain way.
std::vector<bool> BitsOf(const std::vector<uint64_t>& words) {
  std::vector<bool> bits;
  for (const uint64_t word : words) {
    for (int bit = 0; bit < 64; ++bit) bits.push_back((word >> bit) & 1);
  }
  return bits;
}

TEST(BitmapTest, BytesAreWholeClusters) {
  EXPECT_EQ(BitmapBytes(0, 65536), 0u);
  EXPECT_EQ(BitmapBytes(1, 65536), 65536u);
  EXPECT_EQ(BitmapBytes(uint64_t{32} << 30, 65536), 65536u);
  EXPECT_EQ(BitmapBytes((uint64_t{32} << 30) + 1, 65536), 131072u);
  EXPECT_EQ(BitmapBytes(512 * 512 * 8, 512), 512u);
  EXPECT_EQ(BitmapBytes(512 * 512 * 8 + 1, 512), 1024u);
  EXPECT_EQ(BitmapBytes((uint64_t{1} << 63) - 1, 512), uint64_t{1} << 51);
}

TEST(BitmapTest, MaskInAgreesWithSingleBits) {
  const uint64_t seed = SeedFor(0);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 5000; ++i) {
    const uint64_t first = random() % 300;
    const uint64_t count = random() % 200;
    for (uint64_t word = 0; word < 8; ++word) {
      uint64_t expected = 0;
      for (uint64_t bit = 0; bit < 64; ++bit) {
        const uint64_t cluster = word * 64 + bit;
        if (cluster >= first && cluster < first + count) {
          expected |= uint64_t{1} << bit;
        }
      }
      ASSERT_EQ(MaskIn(word, first, count), expected)
          << word << " " << first << " " << count;
    }
  }
}

TEST(BitmapTest, WordCountCoversTheClusters) {
  EXPECT_EQ(WordCount(0, 1), 1u);
  EXPECT_EQ(WordCount(0, 64), 1u);
  EXPECT_EQ(WordCount(0, 65), 2u);
  EXPECT_EQ(WordCount(63, 1), 1u);
  EXPECT_EQ(WordCount(63, 2), 2u);
  EXPECT_EQ(WordCount(64, 64), 1u);
}

TEST(BitmapTest, EqualRunAgreesWithSingleBits) {
  const uint64_t seed = SeedFor(1);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<uint64_t> words(1 + random() % 4);
    for (uint64_t& word : words) {
      // Long runs come up often.
      const uint64_t shift = random() % 64;
      const uint64_t kinds[] = {0, ~uint64_t{0}, random(),
                                ~uint64_t{0} << shift, ~uint64_t{0} >> shift};
      word = kinds[random() % 5];
    }
    const std::vector<bool> bits = BitsOf(words);
    const uint64_t bit = random() % 64;
    const uint64_t limit = 1 + random() % (bits.size() - bit);
    uint64_t expected = 1;
    while (expected < limit && bits[bit + expected] == bits[bit]) ++expected;
    ASSERT_EQ(EqualRun(words, bit, limit), expected) << bit << " " << limit;
  }
}

}  // namespace
}  // namespace flatcow::addcow
