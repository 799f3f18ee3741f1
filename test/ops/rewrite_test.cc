// SPDX-License-Identifier: Apache-2.0
//
// Flatten, rebase, commit, amend, resize, measure: what each does at the edges.
#include <cerrno>
#include <cstdint>
#include <string>
#include <thread>

#include "flatcow/image_ops.h"
#include "format/registry.h"
#include "ops/ops_fixture.h"
#include "support/recording_file_system.h"

namespace flatcow {
namespace {

class RewriteTest : public OpsTest,
                    public testing::WithParamInterface<std::string> {
 protected:
  bool qed() const { return GetParam() == "qed"; }
  void MakeImage(uint64_t size, const std::string& backing = "base") {
    if (qed()) {
      MakeQed("/a", size, backing);
    } else {
      MakeAddCow("/a", size, "data", backing);
    }
  }
};

class FlattenTest : public RewriteTest {};

TEST_P(FlattenTest, NeedsNoBackingFileAnyMore) {
  MakeImage(20 * kCluster);
  Write("/a", 3 * kCluster + 5, "own");
  const std::string content = ShownBy("/a");
  const FlattenResult result = Must(FlattenImage(files_, "/a", {}));
  EXPECT_EQ(result.copied_bytes, 15 * kCluster);
  EXPECT_EQ(InfoOf("/a").backing.has_value(), !qed());
  Must(files_.Remove("/base"));
  EXPECT_EQ(ShownBy("/a"), content);
  EXPECT_TRUE(IsClean(files_, "/a"));
  if (!qed()) {
    EXPECT_EQ(result.data_file, "/data");
    EXPECT_TRUE(InfoOf("/a").all_allocated);
    EXPECT_EQ(files_.Contents("/data"), content);
    EXPECT_EQ(Must(files_.Stat("/data")).allocated_bytes, 16 * kCluster)
        << "zeroes stay holes";
  }
  const auto before = AllContents(files_);
  EXPECT_EQ(Must(FlattenImage(files_, "/a", {})).copied_bytes, 0u);
  EXPECT_EQ(AllContents(files_), before);
}

TEST_P(FlattenTest, GoesOnWhereItStopped) {
  MakeImage(16 * kCluster);
  const Extent done{0, 10 * kCluster};
  EXPECT_EQ(Must(Open("/a", Access::kReadWrite)->Populate(done)), done.length);
  EXPECT_EQ(Must(FlattenImage(files_, "/a", {})).copied_bytes, 6 * kCluster);
}

TEST_P(FlattenTest, RefusesAnImageInUse) {
  MakeImage(16 * kCluster);
  const auto other = Open("/a", Access::kReadWrite);
  EXPECT_TRUE(
      Refuses([&] { return FlattenImage(files_, "/a", {}); }, EBUSY, "/a"));
}

TEST_P(FlattenTest, OnlyAWholeImageIsCalledFlat) {
  if (qed()) return;
  MakeImage(16 * kCluster);
  const auto file = Must(files_.Open("/a", Access::kReadWrite));
  const auto data = Must(files_.Open("/data", Access::kReadWrite));
  EXPECT_TRUE(Refuses([&] { return kAddCowFormat.mark_flat(*file, *data); },
                      EINVAL,
                      "/a: 0 of 16 clusters are allocated, expected all"));
}

// A guest writes while clusters are being made the image's own.
TEST_P(FlattenTest, PopulatingLosesNoWrite) {
  constexpr uint64_t kClusters = 512;
  files_.SetContents("/base", PatternText(1, kClusters * kCluster));
  for (int round = 0; round < 10; ++round) {
    MakeImage(kClusters * kCluster);
    const auto image = Open("/a", Access::kReadWrite);
    std::string content = ShownBy("/base", "raw");
    std::thread populating([&] {
      for (uint64_t at = 0; at < kClusters; at += 16) {
        EXPECT_TRUE(image->Populate({at * kCluster, 16 * kCluster}).ok());
      }
    });
    for (uint64_t at = 0; at < kClusters; ++at) {
      const std::string data = PatternText(at, 100);
      WriteDisk(*image, at * kCluster + 50, data);
      Overwrite(content, at * kCluster + 50, data);
    }
    populating.join();
    ASSERT_TRUE(Shows(*image, content));
    Must(files_.Remove("/a"));
    if (!qed()) Must(files_.Remove("/data"));
  }
}

TEST_F(OpsTest, ARawImageHasNothingToFlattenOrToRecord) {
  EXPECT_TRUE(Refuses([&] { return FlattenImage(files_, "/base", {}); },
                      ENOTSUP, "/base"));
  EXPECT_TRUE(Refuses(
      [&] { return RebaseImage(files_, "/base", {.backing_file = "x"}); },
      EINVAL, "/base"));
  EXPECT_TRUE(Refuses(
      [&] { return AmendImage(files_, "/base", {.backing_file = "x"}); },
      EINVAL, "/base"));
  EXPECT_TRUE(Refuses([&] { return CommitImage(files_, "/base", {}); }, EINVAL,
                      "/base: has no backing file"));
}

class RebaseTest : public RewriteTest {};

TEST_P(RebaseTest, CopiesOnlyWhatTheNewBaseShowsDifferently) {
  MakeImage(16 * kCluster);
  Write("/a", 0, "own");
  const std::string content = ShownBy("/a");
  std::string other = base_;
  Overwrite(other, 1, "under the image's own");
  Overwrite(other, 5 * kCluster + 9, "different");
  files_.SetContents("/other", other);
  EXPECT_EQ(
      Must(RebaseImage(files_, "/a",
                       {.backing_file = "other", .backing_format = "raw"}))
          .copied_bytes,
      kCluster);
  EXPECT_EQ(InfoOf("/a").backing->name, "other");
  EXPECT_EQ(InfoOf("/a").backing->format, "raw");
  EXPECT_EQ(ShownBy("/a"), content);

  // Zeroes of the old base, too, where the new one has something.
  files_.SetContents("/zeroes", std::string(16 * kCluster, '\0'));
  MakeQed("/middle", 16 * kCluster, "");
  Must(RebaseImage(files_, "/a", {.backing_file = "middle"}));
  EXPECT_EQ(InfoOf("/a").backing->format, qed() ? "" : "qed");
  Must(RebaseImage(files_, "/a",
                   {.backing_file = "base", .backing_format = "raw"}));
  EXPECT_EQ(ShownBy("/a"), content);
}

TEST_P(RebaseTest, OntoNothing) {
  MakeImage(20 * kCluster);
  const std::string content = ShownBy("/a");
  Must(RebaseImage(files_, "/a", {}));
  EXPECT_FALSE(InfoOf("/a").backing.has_value());
  Must(files_.Remove("/base"));
  EXPECT_EQ(ShownBy("/a"), content);
}

TEST_P(RebaseTest, UnsafelyNothingIsLookedAt) {
  MakeImage(16 * kCluster);
  Must(files_.Remove("/base"));
  Must(RebaseImage(
      files_, "/a",
      {.backing_file = "elsewhere", .backing_format = "raw", .unsafe = true}));
  EXPECT_EQ(InfoOf("/a").backing->name, "elsewhere");
}

TEST_P(RebaseTest, NotOntoItself) {
  MakeImage(16 * kCluster);
  MakeQed("/above", 16 * kCluster, "");
  Must(RebaseImage(
      files_, "/above",
      {.backing_file = "a", .backing_format = GetParam(), .unsafe = true}));
  for (const std::string backing : {"above", "a"}) {
    EXPECT_TRUE(Refuses(
        [&] { return RebaseImage(files_, "/a", {.backing_file = backing}); },
        EINVAL, "is based on the image itself"));
  }
}

TEST_P(RebaseTest, ABackingFileThatIsNotThereIsNamed) {
  MakeImage(16 * kCluster);
  EXPECT_TRUE(Refuses(
      [&] { return RebaseImage(files_, "/a", {.backing_file = "gone"}); },
      ENOENT, "/gone"));
  EXPECT_TRUE(Refuses(
      [&] {
        return RebaseImage(files_, "/a",
                           {.backing_file = "base", .backing_format = "vmdk"});
      },
      ENOTSUP, "vmdk"));
}

class AmendTest : public RewriteTest {};

TEST_P(AmendTest, NamesChangeAloneAndStay) {
  MakeImage(16 * kCluster);
  Write("/a", 3 * kCluster, "own");
  const std::string content = ShownBy("/a");
  files_.Link("/base", "/" + std::string(900, 'n'));
  for (const std::string& name :
       {std::string(900, 'n'), std::string("./base"), std::string("base")}) {
    Must(AmendImage(files_, "/a",
                    {.backing_file = name, .backing_format = "raw"}));
    EXPECT_EQ(InfoOf("/a").backing->name, name);
    EXPECT_EQ(ShownBy("/a"), content);
    EXPECT_TRUE(IsClean(files_, "/a"));
  }
}

// A base that moved must not be probed for it: a guest may have written it.
TEST_P(AmendTest, WhatIsNotNamedStays) {
  MakeImage(16 * kCluster);
  Must(AmendImage(files_, "/a", {.backing_file = "./base"}));
  EXPECT_EQ(InfoOf("/a").backing->format, "raw");
  Must(AmendImage(files_, "/a", {.backing_format = "qed"}));
  EXPECT_EQ(InfoOf("/a").backing->name, "./base");
  EXPECT_EQ(InfoOf("/a").backing->format, qed() ? "" : "qed");
}

TEST_P(AmendTest, WhatTheFormatHasNoPlaceForIsRefused) {
  MakeImage(16 * kCluster);
  EXPECT_TRUE(Refuses(
      [&] {
        return AmendImage(
            files_, "/a",
            {.backing_file = std::string(4096, 'n'), .backing_format = "raw"});
      },
      ENAMETOOLONG, "/a"));
  EXPECT_TRUE(Refuses(
      [&] {
        return AmendImage(files_, "/a",
                          {.backing_file = "", .backing_format = "raw"});
      },
      EINVAL, "needs a backing file"));
  if (qed()) {
    EXPECT_TRUE(
        Refuses([&] { return AmendImage(files_, "/a", {.data_file = "x"}); },
                EINVAL, "no image file"));
    return;
  }
  EXPECT_TRUE(Refuses(
      [&] {
        return AmendImage(files_, "/a",
                          {.backing_file = "x", .backing_format = ""});
      },
      EINVAL, "must be recorded"));
  EXPECT_TRUE(
      Refuses([&] { return AmendImage(files_, "/a", {.data_format = "vmdk"}); },
              ENOTSUP, "vmdk"));
  EXPECT_TRUE(
      Refuses([&] { return AmendImage(files_, "/a", {.data_file = ""}); },
              EINVAL, "1 to 4095"));
  files_.Link("/data", "/moved");
  Must(AmendImage(files_, "/a", {.data_file = "moved"}));
  EXPECT_EQ(InfoOf("/a").data_file->name, "moved");
}

class CommitTest : public RewriteTest {};

TEST_P(CommitTest, TheBaseShowsTheDiskAndTheImageIsEmpty) {
  MakeImage(20 * kCluster);
  Write("/a", 3 * kCluster + 5, "own");
  Write("/a", 18 * kCluster, "behind the old end of the base");
  Must(Open("/a", Access::kReadWrite)->WriteZeroes({5 * kCluster, 100}));
  const std::string content = ShownBy("/a");
  const CommitResult result = Must(CommitImage(files_, "/a", {}));
  EXPECT_EQ(result.base, "/base");
  EXPECT_TRUE(result.emptied);
  EXPECT_EQ(files_.Contents("/base"), content);
  EXPECT_EQ(ShownBy("/a"), content);
  EXPECT_TRUE(IsClean(files_, "/a"));
  EXPECT_EQ(Must(CheckImage(files_, "/a", {})).allocated_clusters, 0u);
  EXPECT_TRUE(qed() || Must(files_.Stat("/data")).allocated_bytes == 0);
  Write("/a", 0, "goes on");
  EXPECT_EQ(files_.Contents("/base"), content);
}

TEST_P(CommitTest, AnImageThatHoldsEverythingToo) {
  MakeImage(16 * kCluster);
  const std::string content = PatternText(9, 16 * kCluster);
  {
    const auto image = Open("/a", Access::kReadWrite);
    WriteDisk(*image, 0, content);
    Must(image->Flush());
  }
  EXPECT_EQ(InfoOf("/a").all_allocated, !qed());
  Must(CommitImage(files_, "/a", {}));
  EXPECT_EQ(files_.Contents("/base"), content);
  EXPECT_FALSE(InfoOf("/a").all_allocated);
  EXPECT_EQ(ShownBy("/a"), content);
}

TEST_P(CommitTest, FurtherDown) {
  MakeQed("/middle", 10 * kCluster);
  Write("/middle", 2 * kCluster, "middle");
  MakeImage(16 * kCluster, "");
  Must(RebaseImage(
      files_, "/a",
      {.backing_file = "middle", .backing_format = "qed", .unsafe = true}));
  if (!qed()) {
    // It was made without a backing file.
    PokeFile(files_, "/a", 32, Little64(0));
  }
  const std::string content = ShownBy("/a");
  EXPECT_EQ(content.substr(10 * kCluster), std::string(6 * kCluster, '\0'));
  EXPECT_FALSE(Must(CommitImage(files_, "/a", {.base = "/base"})).emptied);
  EXPECT_EQ(files_.Contents("/base"), content);
  EXPECT_EQ(ShownBy("/a"), content);
}

TEST_P(CommitTest, OnlyIntoItsOwnChain) {
  MakeImage(16 * kCluster);
  files_.SetContents("/stranger", "x");
  for (const std::string base : {"/stranger", "/a"}) {
    EXPECT_TRUE(
        Refuses([&] { return CommitImage(files_, "/a", {.base = base}); },
                EINVAL, "is not in its backing chain"));
  }
  EXPECT_TRUE(
      Refuses([&] { return CommitImage(files_, "/a", {.base = "/gone"}); },
              ENOENT, "gone"));
}

TEST_P(CommitTest, NotUnderAnotherReader) {
  MakeImage(16 * kCluster);
  MakeQed("/other", 16 * kCluster);
  const auto reader = Open("/other");
  EXPECT_TRUE(
      Refuses([&] { return CommitImage(files_, "/a", {}); }, EBUSY, "/base"));
}

class ShrinkTest : public RewriteTest {
 protected:
  absl::StatusOr<uint64_t> Resize(ResizeOptions options) {
    return ResizeImage(files_, "/a", options);
  }
};

TEST_P(ShrinkTest, DropsTheEndForGood) {
  for (const uint64_t size :
       {uint64_t{0}, uint64_t{512}, 5 * kCluster, 5 * kCluster + 512}) {
    MakeImage(16 * kCluster);
    Write("/a", 4 * kCluster, PatternText(3, 9 * kCluster));
    std::string content = ShownBy("/a").substr(0, size);
    EXPECT_EQ(Must(Resize({.bytes = size, .shrink = true})), size);
    EXPECT_EQ(ShownBy("/a"), content);
    const CheckResult check = Must(CheckImage(files_, "/a", {}));
    EXPECT_EQ(check.corruptions + check.leaks, 0u);
    Must(Resize({.how = ResizeOptions::How::kBy, .bytes = 10 * kCluster}));
    content.resize(size + 10 * kCluster, '\0');
    EXPECT_EQ(ShownBy("/a"), content);
    Must(files_.Remove("/a"));
    if (!qed()) Must(files_.Remove("/data"));
  }
}

TEST_P(ShrinkTest, WholeTablesGo) {
  // 2 clusters of entries: 1,024 clusters to a table.
  MakeImage(5000 * kCluster);
  for (const uint64_t cluster : {1, 1500, 3000, 4500}) {
    Write("/a", cluster * kCluster, "x");
  }
  const std::string content = ShownBy("/a").substr(0, 1600 * kCluster);
  Must(Resize({.bytes = 1600 * kCluster, .shrink = true}));
  EXPECT_EQ(ShownBy("/a"), content);
  EXPECT_TRUE(IsClean(files_, "/a"));
  EXPECT_EQ(Must(CheckImage(files_, "/a", {})).allocated_clusters, 2u);
}

TEST_P(ShrinkTest, WhatIsLeftMayBeWhole) {
  MakeImage(16 * kCluster);
  const auto image = Open("/a", Access::kReadWrite);
  WriteDisk(*image, 0, PatternText(3, 6 * kCluster));
  Must(image->Flush());
  Must(image->Shrink(5 * kCluster + 512));
  Must(image->Flush());
  EXPECT_EQ(Must(ReadImageInfo(files_, "/a", {.lock = false})).all_allocated,
            !qed());
  EXPECT_TRUE(Shows(
      *image, PatternText(3, 6 * kCluster).substr(0, 5 * kCluster + 512)));
}

TEST_P(ShrinkTest, OnlyWhereItWasAskedFor) {
  MakeImage(16 * kCluster);
  EXPECT_TRUE(
      Refuses([&] { return Resize({.bytes = kCluster}); }, EINVAL, "--shrink"));
  EXPECT_TRUE(Refuses(
      [&] {
        return Resize({.how = ResizeOptions::How::kDownBy,
                       .bytes = 17 * kCluster,
                       .shrink = true});
      },
      EINVAL, "can't be made smaller by"));
  if (qed()) {
    EXPECT_TRUE(Refuses([&] { return Resize({.bytes = 777, .shrink = true}); },
                        EINVAL, "multiple of 512"));
  }
}

class MeasureTest : public RewriteTest {};

TEST_P(MeasureTest, SaysWhatConvertWrites) {
  MakeQed("/source", 5000 * kCluster);
  Write("/source", 4000 * kCluster, "x");
  CreateOptions target;
  target.format = GetParam();
  target.cluster_size = kCluster;
  if (qed()) target.table_size = 2;
  if (!qed()) target.data_file = "copy_data";
  const Measurement measured =
      Must(MeasureImage(files_, "/source", {.target = target}));
  ConvertOptions convert;
  convert.target = target;
  Must(ConvertImage(files_, "/source", "/copy", convert));
  uint64_t written = Must(files_.Stat("/copy")).size;
  if (!qed()) written += Must(files_.Stat("/copy_data")).allocated_bytes;
  EXPECT_EQ(measured.required, written);

  convert.sparse_bytes = 0;
  convert.target.force = true;
  if (!qed()) Must(files_.Remove("/copy_data"));
  Must(ConvertImage(files_, "/source", "/copy", convert));
  uint64_t full = Must(files_.Stat("/copy")).size;
  if (!qed()) full += Must(files_.Stat("/copy_data")).size;
  EXPECT_EQ(measured.fully_allocated, full);

  target.size = 5000 * kCluster;
  EXPECT_EQ(Must(MeasureNewImage(target)).fully_allocated, full);
  target.size.reset();
  EXPECT_TRUE(Fails(MeasureNewImage(target), EINVAL, "size"));
}

std::string FormatName(const testing::TestParamInfo<std::string>& format) {
  return format.param == "qed" ? "qed" : "addcow";
}
const auto kFormats = testing::Values("qed", "add-cow");

INSTANTIATE_TEST_SUITE_P(Formats, FlattenTest, kFormats, FormatName);
INSTANTIATE_TEST_SUITE_P(Formats, RebaseTest, kFormats, FormatName);
INSTANTIATE_TEST_SUITE_P(Formats, AmendTest, kFormats, FormatName);
INSTANTIATE_TEST_SUITE_P(Formats, CommitTest, kFormats, FormatName);
INSTANTIATE_TEST_SUITE_P(Formats, ShrinkTest, kFormats, FormatName);
INSTANTIATE_TEST_SUITE_P(Formats, MeasureTest, kFormats, FormatName);

}  // namespace
}  // namespace flatcow
