// SPDX-License-Identifier: Apache-2.0
//
// Growing: what is new reads as zeroes, whatever was there before.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "format/raw_images.h"
#include "image/open_fixture.h"
#include "model/image_testing.h"
#include "support/recording_file_system.h"

namespace flatcow {
namespace {

using GrowTest = OpenTest;

class ResizeTest : public OpenTest,
                   public testing::WithParamInterface<std::string> {
 protected:
  void MakeImage(uint64_t size) {
    if (GetParam() == "qed") {
      MakeQed("/a", size);
    } else {
      MakeAddCow("/a", size);
    }
  }
};

TEST_P(ResizeTest, NewBytesAreZeroWhateverTheBackingFileHas) {
  for (const uint64_t size :
       {uint64_t{0}, uint64_t{512}, kCluster, 3 * kCluster - 512}) {
    for (const uint64_t more :
         {uint64_t{512}, kCluster, 5 * kCluster + 512, 40 * kCluster}) {
      SCOPED_TRACE(absl::StrCat(size, " + ", more));
      for (const char* name : {"/a", "/data"}) {
        files_.Remove(name).IgnoreError();
      }
      MakeImage(size);
      std::string content = BaseOf(size);
      content.resize(size + more, '\0');
      {
        const auto image = Open("/a", Access::kReadWrite);
        Must(image->Resize(size + more));
        EXPECT_TRUE(Shows(*image, content));
        // What is written there stays, and its cluster is zero around it.
        WriteDisk(*image, size + more - 5, "hello");
        Overwrite(content, size + more - 5, "hello");
        EXPECT_TRUE(Shows(*image, content));
      }
      EXPECT_TRUE(Shows(*Open("/a"), content));
      EXPECT_TRUE(IsClean(files_, "/a"));
    }
  }
}

// The disk and what is below it end in the same cluster.
TEST_P(ResizeTest, NewBytesOfTheLastClusterAreZero) {
  const uint64_t size = 3 * kCluster + 512;
  files_.SetContents("/base", base_.substr(0, size + 1000));
  MakeImage(size);
  std::string content = BaseOf(size);
  content.resize(5 * kCluster, '\0');
  Must(Open("/a", Access::kReadWrite)->Resize(content.size()));
  EXPECT_TRUE(Shows(*Open("/a"), content));
}

TEST_P(ResizeTest, SmallerIsRefused) {
  MakeImage(4 * kCluster);
  const auto image = Open("/a", Access::kReadWrite);
  EXPECT_TRUE(Fails(image->Resize(kCluster), EPERM, "/a"));
  EXPECT_TRUE(image->Resize(4 * kCluster).ok());
  EXPECT_EQ(image->Size(), 4 * kCluster);
}

TEST_P(ResizeTest, TooLargeIsRefused) {
  MakeImage(4 * kCluster);
  const auto image = Open("/a", Access::kReadWrite);
  EXPECT_TRUE(Fails(image->Resize(~uint64_t{511}), EFBIG, "/"));
  EXPECT_TRUE(Shows(*image, BaseOf(4 * kCluster)));
}

TEST_P(ResizeTest, PastTheEndIsRefused) {
  MakeImage(4 * kCluster);
  const auto image = Open("/a", Access::kReadWrite);
  const Extent past{4 * kCluster - 1, 2};
  EXPECT_TRUE(Fails(image->WriteZeroes(past), EFBIG, "/a"));
  EXPECT_TRUE(Fails(image->Allocate(past), EFBIG, "/a"));
  EXPECT_TRUE(image->Discard(past).ok());
  EXPECT_TRUE(Fails(image->WriteZeroes({~uint64_t{0}, 2}), EFBIG));
}

INSTANTIATE_TEST_SUITE_P(Formats, ResizeTest, testing::Values("qed", "addcow"),
                         [](const auto& format) { return format.param; });

TEST_F(GrowTest, QedSizesAreMultiplesOf512) {
  MakeQed("/a", kCluster);
  EXPECT_TRUE(Fails(Open("/a", Access::kReadWrite)->Resize(kCluster + 1),
                    EINVAL, "512"));
}

// An earlier, larger disk left entries behind the end.
TEST_F(GrowTest, GrowingDropsStaleQedEntries) {
  RawQed raw;
  raw.header.image_size = kCluster;
  std::string bytes = raw.Bytes();
  // A stale table: entry 1 of L1 names a cluster that was data.
  Overwrite(bytes, RawQed::kL1 + 8, Little64(RawQed::kL2));
  files_.SetContents("/a", bytes);
  const auto image = Open("/a", Access::kReadWrite);
  Must(image->Resize(2 * RawQed::kTableReach));
  EXPECT_EQ(ReadDisk(*image, {kCluster, 2 * kCluster}),
            std::string(2 * kCluster, '\0'));
  EXPECT_EQ(ReadDisk(*image, {RawQed::kTableReach, 2 * kCluster}),
            std::string(2 * kCluster, '\0'));
  EXPECT_EQ(ReadDisk(*image, {0, 1}), "A");
}

TEST_F(GrowTest, GrowingClearsStaleBits) {
  files_.SetContents("/img", std::string(2 * kCluster, 'g'));
  files_.SetContents("/base", PatternText(1, 2 * kCluster));
  files_.SetContents("/a", RawAddCow{.bits = "\xff"}.Bytes());
  {
    const auto image = Open("/a", Access::kReadWrite);
    Must(image->Resize(4 * kCluster));
    EXPECT_TRUE(Shows(*image, std::string(2 * kCluster, 'g') +
                                  std::string(2 * kCluster, '\0')));
  }
  EXPECT_EQ(files_.Contents("/a")[kCluster] & 0x0f, 3);
}

TEST_F(GrowTest, TheSizeChangesLast) {
  RecordingFileSystem recording(files_);
  MakeQed("/a", kCluster);
  const auto image = Must(OpenImage(recording, "/a", Writable()));
  recording.Clear();
  Must(image->Resize(8 * kCluster));
  std::vector<FileOperation> operations = recording.Operations();
  ASSERT_GE(operations.size(), 2u);
  EXPECT_EQ(operations.back().kind, FileOperation::Kind::kSync);
  operations.pop_back();
  EXPECT_EQ(operations.back().offset, qed::kImageSizeOffset);
  operations.pop_back();
  // Everything before it is durable.
  EXPECT_EQ(operations.back().kind, FileOperation::Kind::kSync);
}

TEST_F(GrowTest, TheSizeOfAnImageFileChangesLast) {
  RecordingFileSystem recording(files_);
  MakeAddCow("/a", kCluster);
  const auto image = Must(OpenImage(recording, "/a", Writable()));
  recording.Clear();
  Must(image->Resize(8 * kCluster));
  std::vector<FileOperation> operations = recording.Operations();
  ASSERT_GE(operations.size(), 3u);
  EXPECT_EQ(operations.back().kind, FileOperation::Kind::kSync);
  EXPECT_EQ(operations.back().path, "/data");
  operations.pop_back();
  EXPECT_EQ(operations.back().kind, FileOperation::Kind::kTruncate);
  EXPECT_EQ(operations.back().path, "/data");
  operations.pop_back();
  // The bits of the new clusters are durable.
  EXPECT_EQ(operations.back().kind, FileOperation::Kind::kSync);
  EXPECT_EQ(operations.back().path, "/a");
}

}  // namespace
}  // namespace flatcow
