// SPDX-License-Identifier: Apache-2.0
//
// Check and repair of damaged QED images of all kinds, alone and together.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/damaged_qed.h"
#include "interop/qemu.h"
#include "model/disk_model.h"
#include "model/guest_view.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

constexpr char kPath[] = "/a.qed";
constexpr uint64_t kCluster = DamagedQed::kCluster;

// In order, with no two that touch.
std::vector<Extent> Merged(std::vector<Extent> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Extent& a, const Extent& b) {
    return a.offset < b.offset;
  });
  std::vector<Extent> merged;
  for (const Extent& range : ranges) {
    if (!merged.empty() && merged.back().end() == range.offset) {
      merged.back().length += range.length;
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

class RepairZooTest : public testing::Test {
 protected:
  RepairZooTest() { files_.SetContents("/base", base_); }

  // Everything that must hold for an image.
  void Examine(const DamagedQed& image);

  CheckResult Check(Repair repair) {
    CheckOptions options;
    options.repair = repair;
    return Must(CheckImage(files_, kPath, options));
  }
  std::string Bytes() const { return files_.Contents(kPath); }

  void LeaksAreAllThatIsFixed(const std::string& bytes,
                              const CheckResult& found);
  void OpeningFixesLeaksAtMost(const std::string& bytes,
                               const CheckResult& found);
  void AllIsRepaired(const std::string& bytes);
  void ChangesAreListed(const std::string& bytes, const CheckResult& result,
                        const GuestView& before);
  void ClustersAreNobodyElses();
  // Nothing but the end of the file and the mark of an unclean close differ.
  void OnlyLeaksAreGone(const std::string& bytes, const CheckResult& found);
  // 0 clean, 2 corrupt, 3 leaks.
  int QemuCheck();

  const std::string base_ = PatternText(5, DamagedQed::kBaseSize);
  MemoryFileSystem files_;
  std::unique_ptr<GuestView> guest_;  // before any repair
};

int RepairZooTest::QemuCheck() {
  static const TemporaryDirectory* const directory = new TemporaryDirectory;
  const std::string path = *directory / "a.qed";
  for (const auto& [name, bytes] :
       {std::pair{*directory / "base", base_}, std::pair{path, Bytes()}}) {
    PosixFileSystem().Remove(name).IgnoreError();
    Make(PosixFileSystem(), name, {.size = bytes.size()});
    PokeFile(PosixFileSystem(), name, 0, bytes);
  }
  const CommandResult result =
      RunCommand({"qemu-img", "check", "-q", "-f", "qed", path});
  EXPECT_NE(result.exit_code, 1) << result.output;
  return result.exit_code;
}

void RepairZooTest::Examine(const DamagedQed& image) {
  const std::string& bytes = image.bytes();
  files_.SetContents(kPath, bytes);
  guest_ = std::make_unique<GuestView>(files_, kPath, kCluster);
  const CheckResult found = Check(Repair::kNone);
  ASSERT_TRUE(Bytes() == bytes) << "a check has written";
  EXPECT_EQ(found.corruptions == 0, QedWords(bytes).IsSound(bytes.size()));
  EXPECT_EQ(found.check_errors, 0u);
  LeaksAreAllThatIsFixed(bytes, found);
  OpeningFixesLeaksAtMost(bytes, found);
  AllIsRepaired(bytes);
}

void RepairZooTest::OnlyLeaksAreGone(const std::string& bytes,
                                     const CheckResult& found) {
  std::string now = Bytes();
  ASSERT_LE(now.size(), bytes.size());
  now[qed::kFeaturesOffset] = bytes[qed::kFeaturesOffset];
  EXPECT_TRUE(now == bytes.substr(0, now.size()));
  EXPECT_EQ(GuestView(files_, kPath, kCluster).WhatIsLost(*guest_), "");
  if (found.corruptions != 0) {
    EXPECT_TRUE(Bytes() == bytes);
  }
}

void RepairZooTest::LeaksAreAllThatIsFixed(const std::string& bytes,
                                           const CheckResult& found) {
  const CheckResult result = Check(Repair::kLeaks);
  EXPECT_EQ(result.corruptions, found.corruptions);
  EXPECT_EQ(result.corruptions_fixed, 0u);
  EXPECT_TRUE(result.changed.empty());
  OnlyLeaksAreGone(bytes, found);
  const CheckResult left = Check(Repair::kNone);
  EXPECT_EQ(left.leaks, found.leaks - result.leaks_fixed);
  if (found.corruptions == 0) {
    // At the end of the file nothing is left: the last cluster is used.
    EXPECT_EQ(Bytes().size() % kCluster, 0u);
    EXPECT_EQ(Check(Repair::kLeaks).leaks_fixed, 0u);
    EXPECT_FALSE(Must(ReadImageInfo(files_, kPath, {})).needs_check);
  }
}

void RepairZooTest::OpeningFixesLeaksAtMost(const std::string& bytes,
                                            const CheckResult& found) {
  files_.SetContents(kPath, bytes);
  const bool unclean = Must(ReadImageInfo(files_, kPath, {})).needs_check;
  auto image = OpenImage(files_, kPath, Writable());
  if (unclean && found.corruptions != 0) {
    EXPECT_TRUE(Fails(image, EROFS, "check -r all"));
  } else {
    EXPECT_TRUE(image.ok()) << image.status();
  }
  if (image.ok()) image->reset();
  if (unclean) {
    OnlyLeaksAreGone(bytes, found);
  } else {
    EXPECT_TRUE(Bytes() == bytes);
  }
}

void RepairZooTest::AllIsRepaired(const std::string& bytes) {
  files_.SetContents(kPath, bytes);
  const CheckResult result = Check(Repair::kAll);
  EXPECT_EQ(result.corruptions, 0u);
  EXPECT_EQ(result.check_errors, 0u);
  EXPECT_FALSE(Must(ReadImageInfo(files_, kPath, {})).needs_check);
  const CheckResult left = Check(Repair::kNone);
  EXPECT_EQ(left.corruptions + left.check_errors, 0u);
  EXPECT_EQ(left.leaks, result.leaks);
  const std::string repaired = Bytes();
  EXPECT_TRUE(QedWords(repaired).IsSound(repaired.size()));
  ChangesAreListed(bytes, result, *guest_);
  static const bool have_qemu = HaveQemu();
  if (have_qemu) {
    const int code = QemuCheck();
    EXPECT_EQ(code, left.leaks == 0 ? 0 : 3);
  }
  ClustersAreNobodyElses();
}

void RepairZooTest::ChangesAreListed(const std::string& bytes,
                                     const CheckResult& result,
                                     const GuestView& before) {
  const GuestView after(files_, kPath, kCluster);
  EXPECT_EQ(after.WhatIsLost(before), "");
  EXPECT_TRUE(after.IsWholeReadable());
  std::vector<Extent> listed;
  for (const std::string& line : result.changed) {
    uint64_t first = 0;
    uint64_t last = 0;
    ASSERT_EQ(std::sscanf(line.c_str(),
                          "guest bytes %" SCNu64 " to %" SCNu64
                          " are the backing file's again",
                          &first, &last),
              2)
        << line;
    listed.push_back({first, last + 1 - first});
  }
  EXPECT_EQ(Merged(listed),
            Merged(ZeroedEntries(QedWords(bytes), QedWords(Bytes()))));
}

// A write to a cluster shows there and nowhere else.
void RepairZooTest::ClustersAreNobodyElses() {
  const QedWords words(Bytes());
  const uint64_t reach = words.header.table_entries() * kCluster;
  for (uint64_t i = 0; i < words.l2.size(); ++i) {
    const auto data = std::find_if(words.l2[i].begin(), words.l2[i].end(),
                                   [](uint64_t entry) { return entry > 1; });
    if (data == words.l2[i].end()) continue;
    const uint64_t at =
        i * reach +
        static_cast<uint64_t>(data - words.l2[i].begin()) * kCluster;
    if (at >= words.header.image_size) continue;
    const GuestView before(files_, kPath, kCluster);
    WriteDisk(*Must(OpenImage(files_, kPath, Writable())), at + 1, "mine");
    EXPECT_EQ(GuestView(files_, kPath, kCluster).Changes(before),
              (std::vector<Extent>{{at, kCluster}}));
  }
}

TEST_F(RepairZooTest, SoundImages) {
  for (uint64_t n = 0; n < 10; ++n) {
    const DamagedQed image(SeedFor(n));
    ASSERT_NO_FATAL_FAILURE(Examine(image)) << "FLATCOW_SEED=" << SeedFor(n);
    files_.SetContents(kPath, image.bytes());
    EXPECT_TRUE(IsClean(files_, kPath));
  }
}

TEST_F(RepairZooTest, EachDamageAlone) {
  for (int i = 0; i < kQedDamages; ++i) {
    const auto damage = static_cast<QedDamage>(i);
    uint64_t found = 0;
    for (uint64_t n = 0; n < 8; ++n) {
      DamagedQed image(SeedFor(n));
      image.Damage(damage);
      SCOPED_TRACE(
          absl::StrCat(image.description(), ", FLATCOW_SEED=", SeedFor(n)));
      ASSERT_NO_FATAL_FAILURE(Examine(image));
      files_.SetContents(kPath, image.bytes());
      const CheckResult result = Check(Repair::kNone);
      if (!IsBad(damage)) {
        EXPECT_EQ(result.corruptions, 0u);
      }
      found += IsBad(damage) ? result.corruptions : result.leaks;
      if (HasFailure()) return;
    }
    if (damage != QedDamage::kNeedCheck) {
      EXPECT_GT(found, 0u) << NameOf(damage);
    }
  }
}

// Also where it is the only leak.
TEST_F(RepairZooTest, APartOfAClusterAtTheEndIsCutOff) {
  DamagedQed image(SeedFor(0));
  for (const uint64_t length : {1u, 100u, 4000u, 4095u}) {
    SCOPED_TRACE(length);
    const std::string bytes = image.bytes() + std::string(length, 'x');
    for (const Repair repair : {Repair::kLeaks, Repair::kAll}) {
      files_.SetContents(kPath, bytes);
      Check(repair);
      EXPECT_TRUE(Bytes() == image.bytes());
    }
  }
}

TEST_F(RepairZooTest, AnyDamagesTogether) {
  for (uint64_t n = 0; n < RoundsFor(150); ++n) {
    DamagedQed image(SeedFor(n));
    std::mt19937_64 random(SeedFor(n));
    for (uint64_t count = 2 + random() % 5; count > 0; --count) {
      image.Damage(static_cast<QedDamage>(random() % kQedDamages));
    }
    SCOPED_TRACE(
        absl::StrCat(image.description(), ", FLATCOW_SEED=", SeedFor(n)));
    ASSERT_NO_FATAL_FAILURE(Examine(image));
    if (HasFailure()) return;
  }
}

TEST_F(RepairZooTest, QemuIsThereToAgree) {
  if (!HaveQemu()) GTEST_SKIP() << "needs qemu-img and qemu-io";
  DamagedQed image(SeedFor(0));
  files_.SetContents(kPath, image.bytes());
  EXPECT_EQ(QemuCheck(), 0);
  image.Damage(QedDamage::kLeakInside);
  files_.SetContents(kPath, image.bytes());
  EXPECT_EQ(QemuCheck(), 3);
  image.Damage(QedDamage::kL2Misaligned);
  files_.SetContents(kPath, image.bytes());
  EXPECT_EQ(QemuCheck(), 2);
}

}  // namespace
}  // namespace flatcow
