// SPDX-License-Identifier: Apache-2.0
//
// The verbs on add-cow images whose image file is a QED image.
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "ops/ops_fixture.h"

namespace flatcow {
namespace {

constexpr uint64_t kSize = 16 * kCluster;

class InnerImageTest : public OpsTest {
 protected:
  CreateOptions Outer(const std::string& image_file = "inner.qed",
                      const std::string& backing = "base") {
    return OptionsOf({.format = "add-cow",
                      .size = kSize,
                      .backing_file = backing,
                      .backing_format = backing.empty() ? "" : "raw",
                      .cluster_size = kCluster,
                      .data_file = image_file,
                      .data_format = "qed"});
  }
  void MakeOuter(const std::string& path,
                 const std::string& image_file = "inner.qed") {
    Must(CreateImage(files_, path, Outer(image_file)).status());
  }
};

// ---- create ----

TEST_F(InnerImageTest, CreateMakesTheInnerImage) {
  MakeOuter("/a");
  EXPECT_EQ(InfoOf("/inner.qed").format, "qed");
  EXPECT_EQ(InfoOf("/inner.qed").virtual_size, kSize);
  EXPECT_FALSE(InfoOf("/inner.qed").backing.has_value());
  EXPECT_EQ(InfoOf("/a").virtual_size, kSize);
  EXPECT_EQ(ShownBy("/a"), base_);
}

TEST_F(InnerImageTest, CreateRoundsTheSizeAsTheInnerFormatDoes) {
  CreateOptions options = Outer("inner.qed", "");
  options.size = 1000;
  EXPECT_EQ(Must(CreateImage(files_, "/a", options)).size, 1024u);
  EXPECT_EQ(Open("/a")->Size(), 1024u);
}

TEST_F(InnerImageTest, CreateTakesTheInnerImageThatIsThere) {
  MakeQed("/inner.qed", kSize, "");
  Write("/inner.qed", 0, "old");
  CreateOptions options = Outer("inner.qed", "");
  options.size.reset();
  EXPECT_EQ(Must(CreateImage(files_, "/a", options)).size, kSize);
  EXPECT_EQ(ShownBy("/a").substr(0, 3), "old");
}

TEST_F(InnerImageTest, CreateRefusesWhatDoesNotFit) {
  MakeQed("/inner.qed", 2 * kSize);
  const auto create = [&](const CreateOptions& options) {
    return [&, options] { return CreateImage(files_, "/a", options); };
  };
  EXPECT_TRUE(Refuses(create(Outer()), EINVAL, "131072 bytes"));
  CreateOptions missing = Outer("missing");
  missing.data_format = "add-cow";
  EXPECT_TRUE(Refuses(create(missing), EINVAL, "'missing', which is missing"));
  missing.data_format = "vmdk";
  EXPECT_TRUE(Refuses(create(missing), ENOTSUP, "vmdk"));
  // Its writes would change what the image reads.
  MakeQed("/on-inner.qed", kSize, "inner.qed");
  Must(AmendImage(files_, "/on-inner.qed", {.backing_format = ""}));
  CreateOptions circle = Outer("inner.qed", "on-inner.qed");
  circle.size = 2 * kSize;
  circle.backing_format = "qed";
  EXPECT_TRUE(Refuses(create(circle), EINVAL, "/inner.qed"));
  // A file of the inner image's chain would be overwritten.
  CreateOptions over = Outer("inner.qed", "");
  over.size = 2 * kSize;
  over.force = true;
  EXPECT_TRUE(Refuses([&] { return CreateImage(files_, "/base", over); },
                      EINVAL, "/base"));
}

// ---- What is in the image ----

TEST_F(InnerImageTest, CheckLooksAtTheImageAndWarnsOfTheInnerOne) {
  MakeOuter("/a");
  Write("/a", 0, PatternText(2, 3 * kCluster));
  CheckResult check = Must(CheckImage(files_, "/a", {}));
  EXPECT_EQ(check.total_clusters, 16u);
  EXPECT_EQ(check.allocated_clusters, 3u);
  EXPECT_TRUE(check.warnings.empty());
  const std::string inner = files_.Contents("/inner.qed");
  files_.SetContents("/inner.qed", inner + std::string(4 * 65536, 'x'));
  CheckOptions repair;
  repair.repair = Repair::kAll;
  check = Must(CheckImage(files_, "/a", repair));
  EXPECT_EQ(check.leaks, 0u);
  ASSERT_EQ(check.warnings.size(), 1u);
  EXPECT_EQ(check.warnings[0].find("image file 'inner.qed': 0 bad entries, 4"),
            0u);
}

TEST_F(InnerImageTest, InfoCountsWhatBothFilesOccupy) {
  MakeOuter("/a");
  Write("/a", 0, PatternText(2, kCluster));
  const ImageInfo info = InfoOf("/a");
  EXPECT_EQ(info.data_file->format, "qed");
  EXPECT_GE(info.allocated_bytes, InfoOf("/inner.qed").allocated_bytes);
  EXPECT_EQ(Must(ReadChainInfo(files_, "/a", {})).size(), 2u);
}

TEST_F(InnerImageTest, AmendTakesFormats) {
  MakeOuter("/a");
  MakeQed("/other.qed", kSize, "");
  Must(AmendImage(files_, "/a", {.data_file = "other.qed"}));
  EXPECT_EQ(ShownBy("/a"), base_);
  files_.SetContents("/raw", PatternText(3, kSize));
  Must(AmendImage(files_, "/a", {.data_file = "raw", .data_format = "raw"}));
  EXPECT_EQ(InfoOf("/a").data_file->format, "raw");
  EXPECT_TRUE(
      Refuses([&] { return AmendImage(files_, "/a", {.data_format = "vmdk"}); },
              ENOTSUP, "vmdk"));
}

// ---- Rewriting ----

TEST_F(InnerImageTest, CommitWritesIntoAnInnerImage) {
  MakeOuter("/a");
  MakeQed("/top", kSize, "a");
  Must(AmendImage(files_, "/top", {.backing_format = ""}));
  Write("/top", 5000, "hello");
  Must(CommitImage(files_, "/top", {}).status());
  std::string expected = base_;
  Overwrite(expected, 5000, "hello");
  EXPECT_EQ(ShownBy("/a"), expected);
  EXPECT_EQ(ShownBy("/top"), expected);
}

TEST_F(InnerImageTest, CommitEmptiesBothImages) {
  MakeOuter("/a");
  Write("/a", 0, PatternText(2, kSize));
  EXPECT_TRUE(Must(CommitImage(files_, "/a", {})).emptied);
  EXPECT_EQ(files_.Contents("/base"), PatternText(2, kSize));
  EXPECT_EQ(ShownBy("/a"), PatternText(2, kSize));
  EXPECT_EQ(ShownBy("/inner.qed"), std::string(kSize, '\0'));
  EXPECT_EQ(Must(CheckImage(files_, "/a", {})).allocated_clusters, 0u);
}

TEST_F(InnerImageTest, FlattenMakesTheInnerImageTheDisk) {
  MakeOuter("/a");
  Write("/a", 5000, "hello");
  const std::string shown = ShownBy("/a");
  const FlattenResult result = Must(FlattenImage(files_, "/a", {}));
  EXPECT_EQ(result.data_file, "/inner.qed");
  EXPECT_TRUE(InfoOf("/a").all_allocated);
  EXPECT_EQ(ShownBy("/a"), shown);
  EXPECT_EQ(ShownBy("/inner.qed"), shown);
  EXPECT_TRUE(IsClean(files_, "/inner.qed"));
}

TEST_F(InnerImageTest, RebaseKeepsWhatIsShown) {
  MakeOuter("/a");
  Write("/a", 5000, "hello");
  const std::string shown = ShownBy("/a");
  files_.SetContents("/new", PatternText(9, kSize));
  Must(RebaseImage(files_, "/a",
                   {.backing_file = "new", .backing_format = "raw"})
           .status());
  EXPECT_EQ(ShownBy("/a"), shown);
  EXPECT_TRUE(Refuses(
      [&] {
        return RebaseImage(
            files_, "/a",
            {.backing_file = "inner.qed", .backing_format = "qed"});
      },
      EINVAL, "based on the image itself"));
}

TEST_F(InnerImageTest, ShrinkingGivesBackSpaceOfTheInnerFile) {
  MakeOuter("/a");
  Write("/a", 0, PatternText(2, kSize));
  Must(ResizeImage(files_, "/a", {.bytes = kSize + 512}).status());
  EXPECT_EQ(ShownBy("/a"), PatternText(2, kSize) + std::string(512, '\0'));
  Must(ResizeImage(files_, "/a", {.bytes = kCluster, .shrink = true}).status());
  EXPECT_EQ(InfoOf("/inner.qed").virtual_size, kCluster);
  EXPECT_EQ(ShownBy("/a"), PatternText(2, kSize).substr(0, kCluster));
  EXPECT_TRUE(IsClean(files_, "/inner.qed"));
}

// ---- Copying ----

TEST_F(InnerImageTest, ConvertReadsAndWritesSuchImages) {
  MakeOuter("/a");
  Write("/a", 5000, "hello");
  const std::string shown = ShownBy("/a");
  ConvertOptions options{.target = Outer("copy.qed", "")};
  Must(ConvertImage(files_, "/a", "/copy", options).status());
  EXPECT_EQ(ShownBy("/copy"), shown);
  EXPECT_EQ(ShownBy("/copy.qed"), shown);
  EXPECT_TRUE(Refuses(
      [&] {
        return ConvertImage(files_, "/a", "/inner.qed",
                            {.create_target = false});
      },
      EINVAL, "is a file of the source"));
}

// The same offset of the same path, but not the same bytes.
TEST_F(InnerImageTest, AnInnerImageIsNotTakenForItsFile) {
  MakeOuter("/a");
  Write("/a", 0, PatternText(2, kSize));
  const auto image = Open("/a");
  const auto file = Must(
      OpenImage(files_, "/inner.qed", {.format = "raw", .share_writes = true}));
  EXPECT_EQ(Must(CompareImages(*image, *file, {})).outcome,
            CompareResult::Outcome::kContentDiffers);
  const auto inner =
      Must(OpenImage(files_, "/inner.qed", {.share_writes = true}));
  EXPECT_EQ(Must(CompareImages(*image, *inner, {})).outcome,
            CompareResult::Outcome::kSame);
}

TEST_F(InnerImageTest, MeasureCountsTheFilesOfBoth) {
  CreateOptions target = Outer("inner.qed", "");
  const Measurement empty = Must(MeasureNewImage(target));
  MakeOuter("/a");
  const uint64_t files =
      files_.Contents("/a").size() + files_.Contents("/inner.qed").size();
  EXPECT_EQ(empty.required, files);
  EXPECT_GT(empty.fully_allocated, empty.required + kSize);
}

}  // namespace
}  // namespace flatcow
