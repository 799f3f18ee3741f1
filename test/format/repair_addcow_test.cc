// SPDX-License-Identifier: Apache-2.0
//
// Check and repair of add-cow images: bits past the end, bitmaps that are cut.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "model/disk_model.h"
#include "model/guest_view.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

constexpr char kPath[] = "/a";
constexpr uint64_t kHeader = 4096;

class RepairAddCowTest : public testing::Test {
 protected:
  // An image with some data, from the seed.
  explicit RepairAddCowTest() {
    files_.SetContents("/base", PatternText(1, 200 * 512));
  }

  void MakeImage(uint64_t seed) {
    random_.seed(seed);
    const uint64_t clusters = 50 + random_() % 100;
    for (const char* path : {kPath, "/data"}) {
      files_.Remove(path).IgnoreError();
    }
    Make(files_, kPath,
         {.format = "add-cow",
          .size = clusters * 512 + random_() % 512,
          .backing_file = "base",
          .backing_format = "raw",
          .cluster_size = 512,
          .data_file = "data"});
    const auto image = Must(OpenImage(files_, kPath, Writable()));
    for (int i = 0; i < 9; ++i) {
      WriteDisk(*image, random_() % (image->Size() - 700),
                PatternText(random_(), 700));
    }
    Must(image->Flush());
    clusters_ = (image->Size() + 511) / 512;
  }

  // Sets bits that stand for no cluster. Return values: is there any?
  bool AddStaleBits() {
    std::string bytes = files_.Contents(kPath);
    bool any = false;
    for (uint64_t bit = clusters_; kHeader + bit / 8 < bytes.size(); ++bit) {
      if (random_() % 3 == 0) continue;
      bytes[kHeader + bit / 8] |= static_cast<char>(1 << bit % 8);
      any = true;
    }
    files_.SetContents(kPath, bytes);
    return any;
  }

  // Cuts the bitmap: what is missing is not allocated.
  void CutBitmap() {
    const std::string bytes = files_.Contents(kPath);
    files_.SetContents(
        kPath, bytes.substr(0, kHeader + random_() % (bytes.size() - kHeader)));
  }

  void Examine(bool stale);

  CheckResult Check(Repair repair) {
    CheckOptions options;
    options.repair = repair;
    const CheckResult result = Must(CheckImage(files_, kPath, options));
    EXPECT_EQ(result.corruptions + result.check_errors + result.leaks, 0u);
    return result;
  }

  MemoryFileSystem files_;
  std::mt19937_64 random_;
  uint64_t clusters_ = 0;
};

void RepairAddCowTest::Examine(bool stale) {
  const auto before = AllContents(files_);
  const GuestView guest(files_, kPath);
  for (const Repair repair : {Repair::kNone, Repair::kLeaks}) {
    const CheckResult result = Check(repair);
    EXPECT_EQ(result.problems.empty(), !stale);
    EXPECT_TRUE(result.changed.empty());
  }
  { const auto image = Must(OpenImage(files_, kPath, Writable())); }
  EXPECT_TRUE(AllContents(files_) == before);
  EXPECT_EQ(Check(Repair::kAll).changed.empty(), !stale);
  EXPECT_TRUE(Check(Repair::kNone).problems.empty());
  EXPECT_TRUE(GuestView(files_, kPath).Changes(guest).empty());
  if (!stale) {
    EXPECT_TRUE(AllContents(files_) == before);
  }
  // What is there now can be written and grown.
  const auto image = Must(OpenImage(files_, kPath, Writable()));
  std::string content = ReadDisk(*image);
  Must(image->Resize(content.size() + 3000));
  content.resize(content.size() + 3000, '\0');
  WriteDisk(*image, content.size() - 5000, PatternText(8, 5000));
  Overwrite(content, content.size() - 5000, PatternText(8, 5000));
  EXPECT_TRUE(Shows(*image, content));
}

TEST_F(RepairAddCowTest, StaleBitsAndShortBitmaps) {
  uint64_t stale_images = 0;
  for (uint64_t n = 0; n < RoundsFor(60); ++n) {
    SCOPED_TRACE(absl::StrCat("FLATCOW_SEED=", SeedFor(n)));
    MakeImage(SeedFor(n));
    if (n % 3 == 1) CutBitmap();
    const bool stale = n % 2 == 0 && AddStaleBits();
    stale_images += stale ? 1 : 0;
    Examine(stale);
    if (HasFailure()) return;
  }
  EXPECT_GT(stale_images, 0u);
}

}  // namespace
}  // namespace flatcow
