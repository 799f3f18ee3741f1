// SPDX-License-Identifier: Apache-2.0
//
// Images of the add-cow drafts of 2012: what verbs record in them in place, and
// how they become images of the final layout.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "io/image_lock.h"
#include "model/draft_image.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kCluster = kDraftClusterBytes;
// The last cluster is cut.
constexpr uint64_t kSize = 10 * kCluster + 333;

// /disks/a over base.raw, which is shorter; /disks/data is full of garbage.
class DraftTest : public testing::TestWithParam<Draft> {
 protected:
  DraftTest() {
    files_.SetContents("/disks/base.raw", base_);
    files_.SetContents("/disks/data", PatternText(2, kSize));
    MakeDraft({.backing = "base.raw", .backing_format = "raw"});
  }

  static bool june() { return GetParam() == Draft::kJune2012; }

  // `bits` is the start of the bitmap.
  void MakeDraft(DraftHeader header, const std::string& bits = "") {
    header.draft = GetParam();
    header.image = "data";
    files_.SetContents("/disks/a", DraftBytes(header) + bits);
  }

  std::string Shown() {
    return ReadDisk(*Must(OpenImage(files_, "/disks/a", {})));
  }
  void Write(uint64_t offset, const std::string& data) {
    const auto image = Must(OpenImage(files_, "/disks/a", Writable()));
    WriteDisk(*image, offset, data);
    Must(image->Flush());
  }
  ImageInfo Info() { return Must(ReadImageInfo(files_, "/disks/a", {})); }
  std::string Magic() { return files_.Contents("/disks/a").substr(0, 8); }
  bool IsFinal() { return Magic().substr(0, 4) == "ACOW"; }
  bool IsJune() { return files_.Contents("/disks/a")[44] != 1; }

  absl::StatusOr<AmendResult> Amend(const AmendOptions& options) {
    return AmendImage(files_, "/disks/a", options);
  }
  AmendResult Upgrade() { return Must(Amend({.compat = "final"})); }

  MemoryFileSystem files_;
  const std::string base_ = PatternText(1, 6 * kCluster + 77);
};

TEST_P(DraftTest, IsRecognisedAndStaysWhatItIs) {
  Write(3 * kCluster + 5, "own");
  EXPECT_EQ(Magic(), "ADD_COW\xff");
  EXPECT_EQ(IsJune(), june());
  EXPECT_EQ(Info().format, "add-cow");
  EXPECT_EQ(Info().cluster_size, kCluster);
  EXPECT_EQ(Info().virtual_size, kSize);
  std::string content = base_ + std::string(kSize - base_.size(), '\0');
  Overwrite(content, 3 * kCluster + 5, "own");
  EXPECT_EQ(Shown(), content);
  EXPECT_TRUE(IsClean(files_, "/disks/a"));
  EXPECT_EQ(Must(CheckImage(files_, "/disks/a", {})).allocated_clusters, 1u);
}

TEST_P(DraftTest, OnlyJulyCanSayThatAllIsAllocated) {
  Write(0, PatternText(9, kSize));
  EXPECT_EQ(Info().all_allocated, !june());
  EXPECT_EQ(files_.Contents("/disks/a")[28], june() ? 3 : 7);
  EXPECT_EQ(Shown(), PatternText(9, kSize));
  // And so it is emptied.
  Must(CommitImage(files_, "/disks/a", {}).status());
  EXPECT_FALSE(Info().all_allocated);
  EXPECT_EQ(files_.Contents("/disks/a")[28], 3);
  EXPECT_EQ(Shown(), PatternText(9, kSize));
}

TEST_P(DraftTest, Flatten) {
  Write(3 * kCluster + 5, "own");
  const std::string content = Shown();
  Must(FlattenImage(files_, "/disks/a", {}).status());
  EXPECT_EQ(Info().all_allocated, !june());
  EXPECT_EQ(Info().backing.has_value(), !june());
  EXPECT_EQ(IsJune(), june());
  EXPECT_EQ(files_.Contents("/disks/data"), content);
  Must(files_.Remove("/disks/base.raw"));
  EXPECT_EQ(Shown(), content);
}

TEST_P(DraftTest, NamesChangeInPlace) {
  Write(3 * kCluster + 5, "own");
  const std::string content = Shown();
  for (const std::string& name :
       {std::string(1800, 'n'), std::string("./base.raw"), std::string("b")}) {
    files_.Link("/disks/base.raw", "/disks/" + name);
    Must(Amend({.backing_file = name}).status());
    EXPECT_EQ(Info().backing->name, name);
    EXPECT_EQ(Info().backing->format, "raw");
    EXPECT_EQ(IsJune(), june());
    EXPECT_EQ(Shown(), content);
  }
  files_.Link("/disks/data", "/disks/moved");
  Must(Amend({.data_file = "moved"}).status());
  EXPECT_EQ(Info().data_file->name, "moved");
  EXPECT_EQ(Shown(), content);
  Must(RebaseImage(files_, "/disks/a", {}).status());
  EXPECT_FALSE(Info().backing.has_value());
  EXPECT_EQ(Shown(), content);
  EXPECT_EQ(IsJune(), june());
  EXPECT_TRUE(Fails(
      Amend({.backing_file = std::string(4090, 'n'), .backing_format = "raw"}),
      ENAMETOOLONG, "/disks/a"));
}

TEST_P(DraftTest, FormatsAreRecordedAsFarAsTheLayoutCan) {
  Make(files_, "/disks/base.qed",
       {.format = "qed", .backing_file = "base.raw", .backing_format = "raw"});
  const std::string content = Shown();
  Must(RebaseImage(files_, "/disks/a",
                   {.backing_file = "base.qed", .backing_format = "qed"})
           .status());
  EXPECT_EQ(Info().backing->format, june() ? "" : "qed");
  EXPECT_EQ(Shown(), content);
  if (june()) {
    Must(Amend({.backing_format = ""}).status());
  } else {
    EXPECT_TRUE(
        Fails(Amend({.backing_format = ""}), EINVAL, "must be recorded"));
  }
  EXPECT_EQ(Shown(), content);
}

TEST_P(DraftTest, BecomesFinalAndShowsTheSame) {
  Write(3 * kCluster + 5, "own");
  Write(9 * kCluster, "behind the base");
  const std::string content = Shown();
  EXPECT_THAT(Upgrade().warnings, IsEmpty());
  EXPECT_TRUE(IsFinal());
  EXPECT_EQ(Info().cluster_size, kCluster);
  EXPECT_EQ(Info().backing->name, "base.raw");
  EXPECT_EQ(Info().backing->format, "raw");
  EXPECT_EQ(Info().data_file->name, "data");
  EXPECT_EQ(Info().data_file->format, "raw");
  EXPECT_FALSE(Info().all_allocated);
  EXPECT_EQ(files_.Contents("/disks/a").size(), 2 * kCluster);
  EXPECT_EQ(Shown(), content);
  EXPECT_TRUE(IsClean(files_, "/disks/a"));
  EXPECT_FALSE(files_.Exists("/disks/a.upgrade"));
  Write(5 * kCluster, "goes on");
  // There is nothing more to do.
  const auto before = AllContents(files_);
  Upgrade();
  EXPECT_EQ(AllContents(files_), before);
}

TEST_P(DraftTest, BitsPastTheEndAreNotCopied) {
  MakeDraft({.backing = "base.raw", .backing_format = "raw"}, "\x08\xfc\xff");
  const std::string content = Shown();
  Upgrade();
  EXPECT_EQ(files_.Contents("/disks/a").substr(kCluster, 3),
            std::string("\x08\x04\0", 3));
  EXPECT_EQ(Shown(), content);
  EXPECT_THAT(Must(CheckImage(files_, "/disks/a", {})).problems, IsEmpty());
}

// Without a backing file what is not allocated reads as zeroes, whatever the
// image file holds.
TEST_P(DraftTest, WithoutBackingFile) {
  MakeDraft({}, "\x02");
  const std::string content = Shown();
  EXPECT_EQ(content.substr(0, kCluster), std::string(kCluster, '\0'));
  Upgrade();
  EXPECT_FALSE(Info().all_allocated);
  EXPECT_EQ(Shown(), content);

  MakeDraft({}, "\xff\x07");
  Upgrade();
  EXPECT_TRUE(Info().all_allocated);
  EXPECT_EQ(Shown(), files_.Contents("/disks/data"));
}

TEST_P(DraftTest, AllAllocatedStaysSo) {
  MakeDraft(
      {.backing = "missing", .backing_format = "raw", .all_allocated = !june()},
      june() ? "\xff\x07" : "");
  Upgrade();
  EXPECT_EQ(Info().all_allocated, !june());
  EXPECT_EQ(Info().backing->name, "missing");
}

TEST_P(DraftTest, OneCallMayChangeNamesToo) {
  const std::string content = Shown();
  files_.Link("/disks/base.raw", "/disks/" + std::string(4095, 'n'));
  Must(Amend({.backing_file = std::string(4095, 'n'), .compat = "final"})
           .status());
  EXPECT_EQ(Info().backing->name, std::string(4095, 'n'));
  EXPECT_EQ(Shown(), content);
}

TEST_P(DraftTest, AnotherLayoutThanFinalIsRefused) {
  EXPECT_TRUE(Fails(Amend({.compat = "1.1"}), EINVAL, "no layout '1.1'"));
  Make(files_, "/disks/b.qed", {.format = "qed", .size = kCluster});
  EXPECT_TRUE(Fails(AmendImage(files_, "/disks/b.qed", {.compat = "final"}),
                    EINVAL, "/disks/b.qed: a qed image has no option compat"));
  EXPECT_FALSE(IsFinal());
}

TEST_P(DraftTest, AnImageInUseStays) {
  const auto before = AllContents(files_);
  {
    const auto view = Must(OpenImage(files_, "/disks/a", {}));
    EXPECT_TRUE(Fails(Amend({.compat = "final"}), EBUSY, "/disks/a: locked"));
  }
  Must(files_.Remove("/disks/data"));
  EXPECT_TRUE(Fails(Amend({.compat = "final"}), ENOENT, "image file 'data'"));
  files_.SetContents("/disks/data", PatternText(2, kSize));
  EXPECT_EQ(AllContents(files_), before);
}

TEST_P(DraftTest, WhatAKilledUpgradeLeftIsReplaced) {
  const std::string content = Shown();
  files_.SetContents("/disks/other", "ACOW: the target of a link");
  const std::string kLeft[] = {"", std::string(70000, '\0'), "ACOW, the rest"};
  for (const std::string& left : kLeft) {
    MakeDraft({.backing = "base.raw", .backing_format = "raw"});
    files_.SetContents("/disks/a.upgrade", left);
    Upgrade();
    EXPECT_TRUE(IsFinal());
    EXPECT_EQ(Shown(), content);
    EXPECT_FALSE(files_.Exists("/disks/a.upgrade"));
  }
  MakeDraft({.backing = "base.raw", .backing_format = "raw"});
  files_.Symlink("other", "/disks/a.upgrade");
  Upgrade();
  EXPECT_EQ(files_.Contents("/disks/other"), "ACOW: the target of a link");
  EXPECT_EQ(Shown(), content);
}

TEST_P(DraftTest, WhatSomebodyUsesOrNoUpgradeLeftIsNot) {
  files_.SetContents("/disks/a.upgrade", "letter");
  EXPECT_TRUE(
      Fails(Amend({.compat = "final"}), EEXIST, "/disks/a.upgrade: is in the"));
  EXPECT_EQ(files_.Contents("/disks/a.upgrade"), "letter");

  files_.SetContents("/disks/a.upgrade", "");
  const auto file = Must(files_.Open("/disks/a.upgrade", Access::kReadOnly));
  ImageLock lock(*file);
  Must(lock.Take(LockRole::kImageReadOnly));
  EXPECT_TRUE(Fails(Amend({.compat = "final"}), EBUSY, "/disks/a.upgrade"));
  EXPECT_FALSE(IsFinal());
}

TEST_P(DraftTest, TheFileBehindALinkIsReplaced) {
  files_.Symlink("a", "/disks/link");
  files_.SetReadOnly("/disks/base.raw");
  const mode_t mode = Must(files_.Stat("/disks/a")).mode;
  const std::string content = Shown();
  Must(AmendImage(files_, "/disks/link", {.compat = "final"}).status());
  EXPECT_TRUE(IsFinal());
  EXPECT_EQ(Must(files_.Stat("/disks/link")).id,
            Must(files_.Stat("/disks/a")).id);
  EXPECT_EQ(Must(files_.Stat("/disks/a")).mode, mode);
  EXPECT_EQ(Shown(), content);
}

INSTANTIATE_TEST_SUITE_P(Drafts, DraftTest,
                         testing::Values(Draft::kJune2012, Draft::kJuly2012),
                         [](const auto& draft) {
                           return draft.param == Draft::kJune2012 ? "June"
                                                                  : "July";
                         });

// ---- What only June leaves open: the backing file's format ----

class JuneTest : public DraftTest {};

TEST_P(JuneTest, AFormatFoundByMagicIsRecorded) {
  Make(files_, "/disks/base.qed",
       {.format = "qed", .backing_file = "base.raw", .backing_format = "raw"});
  MakeDraft({.backing = "base.qed"});
  EXPECT_EQ(Info().backing->format, "");
  const std::string content = Shown();
  EXPECT_THAT(Upgrade().warnings, IsEmpty());
  EXPECT_EQ(Info().backing->format, "qed");
  EXPECT_EQ(Shown(), content);
}

TEST_P(JuneTest, WithoutMagicItIsRawAndTheUserIsWarned) {
  MakeDraft({.backing = "base.raw"});
  EXPECT_THAT(Must(OpenImage(files_, "/disks/a", {}))->Warnings(),
              ElementsAre(HasSubstr("no recorded format and no magic")));
  EXPECT_THAT(Upgrade().warnings,
              ElementsAre(HasSubstr("'base.raw' has no magic")));
  EXPECT_EQ(Info().backing->format, "raw");
  // Unless he says it.
  MakeDraft({.backing = "base.raw"});
  EXPECT_THAT(
      Must(Amend({.backing_format = "raw", .compat = "final"})).warnings,
      IsEmpty());
  EXPECT_EQ(Info().backing->format, "raw");
}

TEST_P(JuneTest, AMissingBackingFileHasNoFormat) {
  MakeDraft({.backing = "missing"});
  const auto before = AllContents(files_);
  EXPECT_TRUE(
      Fails(Amend({.compat = "final"}), ENOENT, "backing file 'missing'"));
  EXPECT_EQ(AllContents(files_), before);
}

INSTANTIATE_TEST_SUITE_P(Drafts, JuneTest, testing::Values(Draft::kJune2012),
                         [](const auto&) { return "June"; });

}  // namespace
}  // namespace flatcow
