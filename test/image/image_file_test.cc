// SPDX-License-Identifier: Apache-2.0
//
// add-cow images whose image file is an image.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "format/qed/header.h"
#include "image/open_fixture.h"

namespace flatcow {
namespace {

constexpr uint64_t kSize = 16 * kCluster;

class ImageFileTest : public OpenTest {
 protected:
  // /a in /inner.qed, which is based on /below.
  void SetUp() override {
    files_.SetContents("/below", PatternText(0xbad, kSize));
    MakeQed("/inner.qed", kSize, "below");
    MakeOuter("/a");
  }

  void MakeOuter(const std::string& path) {
    Make(files_, path,
         {.format = "add-cow",
          .size = kSize,
          .backing_file = "base",
          .backing_format = "raw",
          .cluster_size = kCluster,
          .data_file = "inner.qed",
          .data_format = "qed"});
  }
};

TEST_F(ImageFileTest, ChainPathsAndWrittenPathsGoInside) {
  const auto image = Open("/a");
  EXPECT_EQ(image->ChainPaths(),
            (std::vector<std::string>{"/a", "/inner.qed", "/below", "/base"}));
  EXPECT_EQ(image->WrittenPaths(),
            (std::vector<std::string>{"/a", "/inner.qed"}));
}

TEST_F(ImageFileTest, SegmentsNameThePlaceInTheInnerFile) {
  const auto image = Open("/a", Access::kReadWrite);
  WriteDisk(*image, 2 * kCluster, PatternText(1, kCluster));
  Must(image->WriteZeroes({3 * kCluster, kCluster}));
  const SegmentList segments = Must(image->Map({2 * kCluster, 2 * kCluster}));
  ASSERT_EQ(segments.size(), 2u);
  EXPECT_EQ(segments[0].kind, Segment::Kind::kData);
  ASSERT_NE(segments[0].file, nullptr);
  std::string bytes(kCluster, '\0');
  ASSERT_TRUE(
      segments[0]
          .file
          ->Read(segments[0].host_offset,
                 absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()),
                                bytes.size()))
          .ok());
  EXPECT_EQ(bytes, PatternText(1, kCluster));
  EXPECT_NE(segments[0].host_offset, 2 * kCluster);
  EXPECT_EQ(segments[1].kind, Segment::Kind::kZero);
  EXPECT_TRUE(segments[1].allocated);
  EXPECT_EQ(segments[1].depth, 0);
}

TEST_F(ImageFileTest, ErrorsNameBothImages) {
  std::string bytes = files_.Contents("/inner.qed");
  files_.SetContents("/inner.qed", bytes.substr(0, 40));
  const absl::Status status = TryOpen("/a", Access::kReadOnly);
  EXPECT_TRUE(Fails(status, EINVAL, "/a: image file 'inner.qed'"));
  files_.SetContents("/inner.qed", bytes);
  Must(files_.Remove("/below"));
  EXPECT_TRUE(Fails(TryOpen("/a", Access::kReadOnly), ENOENT,
                    "/a: image file 'inner.qed'"));
}

// The last cluster's entry is bad and NEED_CHECK is set.
TEST_F(ImageFileTest, ADamagedInnerImageCanOnlyBeRead) {
  {
    const auto image = Open("/a", Access::kReadWrite);
    WriteDisk(*image, 0, PatternText(1, kCluster));
    Must(image->Flush());
  }
  constexpr uint64_t kTable = 3 * kCluster;
  PokeFile(files_, "/inner.qed", kTable + 15 * 8, Little64(1 << 30));
  PokeFile(files_, "/inner.qed", 16, Little64(qed::kFeatureNeedCheck | 1 | 4));
  EXPECT_TRUE(
      Fails(TryOpen("/a", Access::kReadWrite), EROFS, "/a: image file"));
  const auto image = Open("/a");
  EXPECT_TRUE(Fails(image->MakeWritable(), EROFS, "check -r all"));
  EXPECT_FALSE(image->Writable());
  EXPECT_EQ(ReadDisk(*image, {0, kCluster}), PatternText(1, kCluster));
}

TEST_F(ImageFileTest, AnInnerImageInUseElsewhereIsLocked) {
  const auto image = Open("/a");
  {
    const auto inner = Open("/inner.qed");
    EXPECT_TRUE(Fails(image->MakeWritable(), EBUSY, "/inner.qed"));
    EXPECT_FALSE(image->Writable());
    // Nobody is kept from reading: the writer's locks were given back.
    Open("/a");
  }
  Must(image->MakeWritable());
  EXPECT_TRUE(Fails(TryOpen("/inner.qed", Access::kReadOnly), EBUSY));
  WriteDisk(*image, 5, "hello");
  Must(image->Flush());
  EXPECT_EQ(ReadDisk(*image, {5, 5}), "hello");
}

TEST_F(ImageFileTest, ASizeThatTheInnerFormatCannotHoldChangesNothing) {
  const auto image = Open("/a", Access::kReadWrite);
  WriteDisk(*image, 0, PatternText(1, kSize));
  EXPECT_TRUE(Fails(image->Resize(kSize + 1), EINVAL));
  EXPECT_TRUE(Fails(image->Shrink(1000), EINVAL));
  EXPECT_TRUE(Shows(*image, PatternText(1, kSize)));
  Must(image->Shrink(1024));
  Must(image->Resize(kSize));
  EXPECT_TRUE(
      Shows(*image, PatternText(1, 1024) + std::string(kSize - 1024, '\0')));
}

TEST_F(ImageFileTest, AFullImageIsNoFileOfTheHost) {
  {
    const auto image = Open("/a", Access::kReadWrite);
    WriteDisk(*image, 0, PatternText(1, kSize));
    Must(image->Flush());
    EXPECT_EQ(image->FlatFile(/*never_written=*/false), -1);
  }
  EXPECT_TRUE(Must(ReadImageInfo(files_, "/a", {})).all_allocated);
  const auto image = Open("/a");
  EXPECT_EQ(image->FlatFile(/*never_written=*/true), -1);
  EXPECT_TRUE(Shows(*image, PatternText(1, kSize)));
  EXPECT_TRUE(Shows(*Open("/inner.qed"), PatternText(1, kSize)));
}

TEST_F(ImageFileTest, WritesInPlaceThatTheInnerImageAllocatesAreFlushed) {
  MakeQed("/flat.qed", kSize, "");
  Make(files_, "/flat",
       {.format = "add-cow",
        .size = kSize,
        .data_file = "flat.qed",
        .data_format = "qed"});
  const auto image = Open("/flat", Access::kReadWrite);
  WriteDisk(*image, 100, "hello");
  EXPECT_TRUE(image->NeedsFlush());
  Must(image->Flush());
  EXPECT_FALSE(image->NeedsFlush());
  const auto copy = files_.Snapshot();
  const auto survivor = Must(OpenImage(*copy, "/flat", {}));
  EXPECT_EQ(ReadDisk(*survivor, {100, 5}), "hello");
}

// What the pool has is not used when an inner file was exchanged.
TEST_F(ImageFileTest, ASharedBackingImageMustStillHaveItsInnerFiles) {
  MakeQed("/x", kSize, "a");
  Must(AmendImage(files_, "/x", {.backing_format = ""}));
  MakeQed("/y", kSize, "a");
  Must(AmendImage(files_, "/y", {.backing_format = ""}));
  const OpenOptions options{.backing_pool = NewBackingPool()};
  const auto first = Must(OpenImage(files_, "/x", options));
  const std::string shown = ReadDisk(*first);
  EXPECT_EQ(ReadDisk(*Must(OpenImage(files_, "/y", options))), shown);
  {
    Make(files_, "/other.qed", {.format = "qed", .size = 2 * kCluster});
    Must(files_.Remove("/inner.qed"));
    files_.Link("/other.qed", "/inner.qed");
  }
  EXPECT_EQ(ReadDisk(*Must(OpenImage(files_, "/y", options))),
            BaseOf(2 * kCluster) + std::string(kSize - 2 * kCluster, '\0'));
}

}  // namespace
}  // namespace flatcow
