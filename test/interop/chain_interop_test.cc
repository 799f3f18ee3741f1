// SPDX-License-Identifier: Apache-2.0
//
// Mixed chains on real files against a model; QEMU judges the QED files.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "interop/qemu.h"
#include "model/disk_model.h"
#include "model/image_testing.h"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

// Formats from the image down, over a raw file.
class ChainInteropTest
    : public testing::TestWithParam<std::vector<std::string>> {
 protected:
  static constexpr uint64_t kSize = 3 << 20;
  static constexpr uint32_t kCluster = 16384;

  std::string NameOf(size_t level) const {
    return absl::StrCat("level", level, ".", GetParam()[level]);
  }

  // Writes at random and remembers.
  void Change(const std::string& name, uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto image = Must(OpenImage(files_, directory_ / name, Writable()));
    for (int i = 0; i < 40; ++i) {
      const uint64_t offset = random() % kSize;
      const uint64_t length =
          std::min(kSize - offset, 1 + random() % (3 * kCluster));
      std::string data = PatternText(random(), length);
      if (random() % 4 == 0) {
        data.assign(length, '\0');
        Must(image->WriteZeroes({offset, length}));
      } else {
        WriteDisk(*image, offset, data);
      }
      Overwrite(content_, offset, data);
    }
    Must(image->Flush());
  }

  FileSystem& files_ = PosixFileSystem();
  TemporaryDirectory directory_;
  std::string content_;
};

TEST_P(ChainInteropTest, ShowsWhatWasWrittenAtEveryLevel) {
  const uint64_t seed = SeedFor(0);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  // Shorter than the disk and of an odd size.
  const std::string base = PatternText(1, kSize / 2 + 333);
  Make(files_, directory_ / "base.raw", {.size = base.size()});
  PokeFile(files_, directory_ / "base.raw", 0, base);
  content_ = base + std::string(kSize - base.size(), '\0');
  std::string below = "base.raw";
  std::string below_format = "raw";
  for (size_t level = GetParam().size(); level-- > 0;) {
    const std::string& format = GetParam()[level];
    Make(files_, directory_ / NameOf(level),
         {.format = format,
          .size = kSize,
          .backing_file = below,
          .backing_format = below_format,
          .cluster_size = kCluster,
          .data_file = format == "add-cow" ? absl::StrCat("img", level) : ""});
    Change(NameOf(level), seed + level);
    below = NameOf(level);
    below_format = format;
  }
  const auto image = Must(OpenImage(files_, directory_ / NameOf(0), {}));
  EXPECT_TRUE(Shows(*image, content_));
  for (size_t level = 0; level < GetParam().size(); ++level) {
    EXPECT_TRUE(IsClean(files_, directory_ / NameOf(level)));
  }
  EXPECT_EQ(ReadFile(files_, directory_ / "base.raw"), base);
  if (GetParam().back() == "qed" && HaveQemu()) {
    // The levels above are locked by us; QEMU's check looks at this one only.
    const auto check = RunCommand({"qemu-img", "check", "-f", "qed",
                                   directory_ / NameOf(GetParam().size() - 1)});
    EXPECT_EQ(check.exit_code, 0) << check.output;
  }
}

// A QED image that is written through an add-cow image.
TEST(InnerImageInteropTest, QemuReadsTheInnerImageAndFindsItSound) {
  if (!HaveQemu()) GTEST_SKIP() << "needs qemu-img";
  TemporaryDirectory directory;
  FileSystem& files = PosixFileSystem();
  constexpr uint64_t kSize = 1 << 20;
  MustRun({"qemu-img", "create", "-f", "qed", directory / "in.qed",
           std::to_string(kSize)});
  Make(files, directory / "base.raw", {.size = kSize});
  PokeFile(files, directory / "base.raw", 0, PatternText(1, kSize));
  Make(files, directory / "a",
       {.format = "add-cow",
        .backing_file = "base.raw",
        .backing_format = "raw",
        .data_file = "in.qed",
        .data_format = "qed"});
  {
    const auto image = Must(OpenImage(files, directory / "a", Writable()));
    for (uint64_t at = 1000; at < kSize; at += 100000) {
      WriteDisk(*image, at, PatternText(at, 5000));
    }
    Must(image->WriteZeroes({200000, 300000}));
    Must(image->Resize(2 * kSize));
    WriteDisk(*image, 2 * kSize - 5000, PatternText(2, 5000));
    Must(image->Flush());
  }
  MustRun({"qemu-img", "check", "-f", "qed", directory / "in.qed"});
  Must(FlattenImage(files, directory / "a", {}).status());
  MustRun({"qemu-img", "check", "-f", "qed", directory / "in.qed"});
  MustRun({"qemu-img", "convert", "-f", "qed", "-O", "raw",
           directory / "in.qed", directory / "out.raw"});
  const auto image = Must(OpenImage(files, directory / "a", {}));
  EXPECT_TRUE(Shows(*image, ReadFile(files, directory / "out.raw")));
}

INSTANTIATE_TEST_SUITE_P(
    Chains, ChainInteropTest,
    testing::Values(std::vector<std::string>{"add-cow"},
                    std::vector<std::string>{"add-cow", "qed"},
                    std::vector<std::string>{"qed", "add-cow"},
                    std::vector<std::string>{"add-cow", "add-cow", "qed"},
                    std::vector<std::string>{"qed", "qed", "add-cow"}),
    [](const auto& chain) {
      std::string name;
      for (const std::string& format : chain.param) {
        absl::StrAppend(&name, format == "add-cow" ? "addcow" : format, "_");
      }
      return name + "raw";
    });

}  // namespace
}  // namespace flatcow
