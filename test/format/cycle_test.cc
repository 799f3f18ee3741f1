// SPDX-License-Identifier: Apache-2.0
//
// Chains that lead back to themselves, by names or by links.
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "format/hostile_image.h"

namespace flatcow {
namespace {

class CycleTest : public HostileImageTest {
 protected:
  // Refused both ways, with `error`; nothing has changed.
  void ExpectRefused(const std::string& path, int error = ELOOP) {
    EXPECT_TRUE(Fails(Open(path, Access::kReadOnly), error, "/"));
    EXPECT_TRUE(Fails(Open(path, Access::kReadWrite), error, "/"));
    Exercise(path);
  }
};

TEST_F(CycleTest, AnImageItsOwnBackingFile) {
  files_.SetContents("/a", RawQed().Bytes("a", /*raw_backing=*/false));
  ExpectRefused("/a");
}

TEST_F(CycleTest, TwoImagesBackingEachOther) {
  files_.SetContents("/a", RawQed().Bytes("b", false));
  files_.SetContents("/b", RawQed().Bytes("a", false));
  ExpectRefused("/a");
}

TEST_F(CycleTest, ACycleBelowTheImage) {
  files_.SetContents("/a", RawQed().Bytes("b", false));
  files_.SetContents("/b", RawQed().Bytes("c", false));
  files_.SetContents("/c", RawQed().Bytes("b", false));
  ExpectRefused("/a");
}

TEST_F(CycleTest, ThroughAHardLink) {
  files_.SetContents("/a", RawQed().Bytes("dir/same", false));
  files_.Link("/a", "/dir/same");
  ExpectRefused("/a");
}

TEST_F(CycleTest, ThroughASymbolicLink) {
  files_.SetContents("/a", RawQed().Bytes("dir/link", false));
  files_.Symlink("../a", "/dir/link");
  ExpectRefused("/a");
}

TEST_F(CycleTest, RawViewOfItself) {
  files_.SetContents("/a", RawQed().Bytes("a", /*raw_backing=*/true));
  ExpectRefused("/a");
}

TEST_F(CycleTest, SymbolicLinksThatGoRound) {
  files_.SetContents("/a", RawQed().Bytes("l1"));
  files_.Symlink("l2", "/l1");
  files_.Symlink("l1", "/l2");
  ExpectRefused("/a");
}

TEST_F(CycleTest, AddCowItsOwnImageFile) {
  files_.SetContents("/a", RawAddCow{.image = "a"}.Bytes());
  ExpectRefused("/a");
}

TEST_F(CycleTest, AddCowItsOwnBackingFile) {
  files_.SetContents(
      "/a", RawAddCow{.backing = "a", .backing_format = "add-cow"}.Bytes());
  ExpectRefused("/a");
  files_.SetContents("/a", RawAddCow{.backing = "a"}.Bytes());
  ExpectRefused("/a");
}

TEST_F(CycleTest, AddCowItsOwnEverything) {
  files_.SetContents("/a", RawAddCow{.backing = "a", .image = "a"}.Bytes());
  ExpectRefused("/a");
}

TEST_F(CycleTest, ImageFileIsTheBackingFile) {
  files_.SetContents("/a", RawAddCow{.image = "base"}.Bytes());
  ExpectRefused("/a");
}

TEST_F(CycleTest, ImageFileIsTheBackingFileByAnotherName) {
  files_.Link("/base", "/other");
  files_.SetContents("/a", RawAddCow{.image = "other"}.Bytes());
  ExpectRefused("/a");
}

TEST_F(CycleTest, ImageFileStandsDeeperInTheChain) {
  files_.SetContents("/middle", RawQed().Bytes("base"));
  files_.SetContents(
      "/a",
      RawAddCow{.backing = "middle", .backing_format = "qed", .image = "base"}
          .Bytes());
  ExpectRefused("/a");
}

TEST_F(CycleTest, ImageFileIsAnImageFileDeeperInTheChain) {
  files_.SetContents("/middle", RawAddCow().Bytes());
  files_.SetContents(
      "/a",
      RawAddCow{.backing = "middle", .backing_format = "add-cow"}.Bytes());
  ExpectRefused("/a");
}

TEST_F(CycleTest, TheImageIsAnImageFileDeeperInTheChain) {
  files_.SetContents("/a", RawQed().Bytes("middle", false));
  files_.SetContents("/middle", RawAddCow{.image = "a"}.Bytes());
  ExpectRefused("/a");
}

TEST_F(CycleTest, ABackingImageOverItsOwnImageFile) {
  files_.SetContents("/a", RawQed().Bytes("middle", false));
  files_.SetContents("/middle", RawAddCow{.image = "base"}.Bytes());
  ExpectRefused("/a");
}

TEST_F(CycleTest, TwoBranchesMayReadTheSameFile) {
  // The image file of one backing image is the raw file at the bottom.
  files_.SetContents("/low", RawQed().Bytes("base"));
  files_.SetContents(
      "/middle",
      RawAddCow{.backing = "low", .backing_format = "qed", .image = "base"}
          .Bytes());
  files_.SetContents("/a", RawQed().Bytes("middle", false));
  EXPECT_TRUE(Open("/a", Access::kReadWrite).ok());
}

// ---- Image files that are images ----

// An add-cow image in /a, whose image file is /inner.
RawAddCow InInner(const std::string& format = "qed") {
  return {.image = "inner", .image_format = format};
}

TEST_F(CycleTest, AnInnerImageThatIsTheImage) {
  files_.SetContents(
      "/a", RawAddCow{.image = "a", .image_format = "add-cow"}.Bytes());
  ExpectRefused("/a");
}

TEST_F(CycleTest, AnInnerImageThatLeadsToTheImage) {
  files_.SetContents("/a", InInner().Bytes());
  files_.SetContents("/inner", RawQed().Bytes("a", false));
  ExpectRefused("/a");
  files_.SetContents("/a", InInner("add-cow").Bytes());
  files_.SetContents("/inner", RawAddCow{.image = "a"}.Bytes());
  ExpectRefused("/a");
  files_.SetContents(
      "/inner", RawAddCow{.image = "a", .image_format = "add-cow"}.Bytes());
  ExpectRefused("/a");
}

TEST_F(CycleTest, AnInnerImageOnItself) {
  files_.SetContents("/a", InInner().Bytes());
  files_.SetContents("/inner", RawQed().Bytes("inner", false));
  ExpectRefused("/a");
}

TEST_F(CycleTest, AnInnerImageThatIsTheBackingFile) {
  files_.SetContents("/inner", RawQed().Bytes());
  RawAddCow image = InInner();
  image.backing = "inner";
  files_.SetContents("/a", image.Bytes());
  ExpectRefused("/a");
  files_.SetContents("/middle", RawQed().Bytes("inner", false));
  image.backing = "middle";
  image.backing_format = "qed";
  files_.SetContents("/a", image.Bytes());
  ExpectRefused("/a");
}

TEST_F(CycleTest, AnInnerImageOnTheImageFileFurtherIn) {
  files_.SetContents("/a", InInner("add-cow").Bytes());
  files_.SetContents(
      "/inner", RawAddCow{.backing = "lower", .backing_format = "qed"}.Bytes());
  files_.SetContents("/lower", RawQed().Bytes("img"));
  ExpectRefused("/a");
}

TEST_F(CycleTest, ABackingImageInACircleWithItsInnerImage) {
  files_.SetContents("/a", RawQed().Bytes("middle", false));
  files_.SetContents("/middle", InInner().Bytes());
  files_.SetContents("/inner", RawQed().Bytes("middle", false));
  ExpectRefused("/a");
}

TEST_F(CycleTest, InnerAndOuterImageMayHaveTheSameBackingFile) {
  files_.SetContents("/a", InInner().Bytes());
  files_.SetContents("/inner", RawQed().Bytes("base"));
  EXPECT_TRUE(Open("/a", Access::kReadWrite).ok());
  files_.SetContents("/b", RawQed().Bytes("a", false));
  EXPECT_TRUE(Open("/b", Access::kReadWrite).ok());
}

// 255 add-cow images, one inside another, and the raw file of the last.
TEST_F(CycleTest, ImagesMayStandInsideOneAnotherUpToTheLimit) {
  const int kLast = 255;
  for (int i = 0; i <= kLast; ++i) {
    const bool last = i == kLast;
    RawAddCow image{.backing = last ? "" : "base",
                    .image = last ? "img" : absl::StrCat("n", i + 1),
                    .image_format = last ? "raw" : "add-cow"};
    files_.SetContents(absl::StrCat("/n", i), image.Bytes());
  }
  EXPECT_TRUE(Fails(Open("/n0", Access::kReadOnly), ELOOP, "256"));
  EXPECT_TRUE(Fails(Open("/n0", Access::kReadWrite), ELOOP, "256"));
  std::string last = files_.Contents("/n255");
  // Every backing file is one more.
  for (int i = 0; i < kLast; ++i) {
    files_.SetContents(absl::StrCat("/n", i),
                       RawAddCow{.backing = "",
                                 .image = absl::StrCat("n", i + 1),
                                 .image_format = "add-cow"}
                           .Bytes());
  }
  EXPECT_TRUE(Fails(Open("/n0", Access::kReadOnly), ELOOP, "256"));
  const auto image = Must(Open("/n1", Access::kReadWrite));
  EXPECT_EQ(image->ChainPaths().size(), 256u);
  WriteDisk(*image, 20000, "hello");
  Must(image->WriteZeroes({3, 9000}));
  Must(image->Resize(image->Size() + 5000));
  Must(image->Flush());
  Must(image->Shrink(30000));
  std::string content = std::string(30000, '\0');
  EXPECT_EQ(ReadDisk(*image, {20000, 5}), "hello");
  EXPECT_EQ(ReadDisk(*image, {3, 9000}), std::string(9000, '\0'));
  Must(image->Map({0, image->Size()}).status());
}

TEST_F(CycleTest, AllAllocatedDoesNotLookAtItsBackingFile) {
  std::string bytes = RawAddCow{.backing = "a"}.Bytes();
  bytes[addcow::kCompatOffset] = 1;
  files_.SetContents("/a", bytes);
  EXPECT_TRUE(Open("/a", Access::kReadWrite).ok());
}

TEST_F(CycleTest, AChainHasAtMost256Files) {
  const int kLast = 256;
  for (int i = 0; i < kLast; ++i) {
    files_.SetContents(absl::StrCat("/n", i),
                       RawQed().Bytes(absl::StrCat("n", i + 1), false));
  }
  files_.SetContents(absl::StrCat("/n", kLast), base_);
  EXPECT_TRUE(Fails(Open("/n0", Access::kReadOnly), ELOOP, "256"));
  EXPECT_TRUE(Fails(Open("/n0", Access::kReadWrite), ELOOP, "256"));
  const auto image = Must(Open("/n1", Access::kReadWrite));
  EXPECT_EQ(image->ChainPaths().size(), 256u);
  EXPECT_EQ(ReadDisk(*image, {40000, 8}), base_.substr(40000, 8));
}

}  // namespace
}  // namespace flatcow
