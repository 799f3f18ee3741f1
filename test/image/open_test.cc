// SPDX-License-Identifier: Apache-2.0
//
// What opening an image does to it, and what an open image answers.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "format/raw_images.h"
#include "image/open_fixture.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

// ---- Read-only ----

TEST_F(OpenTest, ReadOnlyImagesRefuseEveryChange) {
  MakeQed("/a", base_.size());
  const auto image = Open("/a");
  const uint8_t byte = 1;
  EXPECT_TRUE(Fails(image->Write(0, {&byte, 1}), EROFS, "/a"));
  EXPECT_TRUE(Fails(image->WriteZeroes({0, 1}), EROFS, "/a"));
  EXPECT_TRUE(Fails(image->Discard({0, 1}), EROFS, "/a"));
  EXPECT_TRUE(Fails(image->Allocate({0, 1}), EROFS, "/a"));
  EXPECT_TRUE(Fails(image->Resize(2 * base_.size()), EROFS, "/a"));
  EXPECT_TRUE(image->Flush().ok());
  EXPECT_FALSE(image->Writable());
  EXPECT_TRUE(Shows(*image, base_));
}

TEST_F(OpenTest, AReadOnlyFileCanBeReadButNotOpenedForWriting) {
  MakeQed("/a", base_.size());
  files_.SetReadOnly("/a");
  EXPECT_TRUE(Fails(TryOpen("/a", Access::kReadWrite), EACCES, "/a"));
  EXPECT_TRUE(Shows(*Open("/a"), base_));
}

TEST_F(OpenTest, AnAddCowNeedsItsImageFileWritableToo) {
  MakeAddCow("/a", base_.size());
  files_.SetReadOnly("/data");
  EXPECT_TRUE(Fails(TryOpen("/a", Access::kReadWrite), EACCES, "/data"));
}

TEST_F(OpenTest, ABackingFileNeedNotBeWritable) {
  MakeQed("/a", base_.size());
  files_.SetReadOnly("/base");
  WriteDisk(*Open("/a", Access::kReadWrite), 0, "x");
}

TEST_F(OpenTest, WritingAndSharingExcludeEachOther) {
  MakeQed("/a", base_.size());
  EXPECT_TRUE(
      Fails(OpenImage(files_, "/a",
                      {.access = Access::kReadWrite, .share_writes = true}),
            EINVAL, "/a"));
}

TEST_F(OpenTest, AMissingFileIsNamed) {
  EXPECT_TRUE(Fails(TryOpen("/gone", Access::kReadOnly), ENOENT, "/gone"));
  files_.SetContents("/a", RawQed().Bytes("gone"));
  EXPECT_TRUE(Fails(TryOpen("/a", Access::kReadOnly), ENOENT, "/gone"));
  EXPECT_TRUE(Fails(TryOpen("/a", Access::kReadOnly), ENOENT, "/a"));
  files_.SetContents("/b", RawAddCow{.image = "gone"}.Bytes());
  EXPECT_TRUE(Fails(TryOpen("/b", Access::kReadOnly), ENOENT, "/gone"));
}

// ---- MakeWritable ----

TEST_F(OpenTest, MakeWritableLetsWritesThrough) {
  MakeAddCow("/a", base_.size());
  const auto image = Open("/a");
  EXPECT_TRUE(Shows(*image, base_));
  Must(image->MakeWritable());
  EXPECT_TRUE(image->Writable());
  Must(image->MakeWritable());
  WriteDisk(*image, 100, "hello");
  Must(image->Flush());
  std::string content = base_;
  Overwrite(content, 100, "hello");
  EXPECT_TRUE(Shows(*image, content));
  EXPECT_TRUE(Shows(*Must(OpenImage(files_, "/a", {.lock = false})), content));
}

TEST_F(OpenTest, MakeWritableFailsBesideAReader) {
  MakeQed("/a", base_.size());
  const auto image = Open("/a");
  auto reader = Open("/a");
  EXPECT_TRUE(Fails(image->MakeWritable(), EBUSY, "/a"));
  EXPECT_FALSE(image->Writable());
  EXPECT_TRUE(Shows(*image, base_));
  reader.reset();
  EXPECT_TRUE(image->MakeWritable().ok());
}

TEST_F(OpenTest, AFailedMakeWritableStillReadsBesideOthers) {
  MakeQed("/a", base_.size());
  files_.SetReadOnly("/a");
  const auto image = Open("/a");
  EXPECT_TRUE(Fails(image->MakeWritable(), EACCES, "/a"));
  // Only a reader's locks are held, so that another may come.
  EXPECT_TRUE(TryOpen("/a", Access::kReadOnly).ok());
  EXPECT_TRUE(Shows(*image, base_));
}

// "On failure the image stays as it was": -U lets writers in.
TEST_F(OpenTest, AFailedMakeWritableStillSharesWithWriters) {
  MakeQed("/a", base_.size());
  files_.SetReadOnly("/a");
  const auto image = Must(OpenImage(files_, "/a", {.share_writes = true}));
  EXPECT_TRUE(Fails(image->MakeWritable(), EACCES, "/a"));
  files_.SetReadOnly("/a", false);
  EXPECT_TRUE(TryOpen("/a", Access::kReadWrite).ok());
}

TEST_F(OpenTest, AnImageFileThatIsInUseLeavesTheAddCowReadable) {
  MakeAddCow("/a", base_.size());
  const auto image = Open("/a");
  auto other = Open("/data");
  EXPECT_TRUE(Fails(image->MakeWritable(), EBUSY, "/data"));
  EXPECT_TRUE(TryOpen("/a", Access::kReadOnly).ok());
  other.reset();
  EXPECT_TRUE(image->MakeWritable().ok());
}

// ---- Locks between two opens ----

TEST_F(OpenTest, WritersExcludeAllButSharedReaders) {
  MakeAddCow("/a", base_.size());
  const auto writer = Open("/a", Access::kReadWrite);
  EXPECT_TRUE(Fails(TryOpen("/a", Access::kReadWrite), EBUSY, "/a"));
  EXPECT_TRUE(Fails(TryOpen("/a", Access::kReadOnly), EBUSY, "/a"));
  EXPECT_TRUE(Fails(TryOpen("/data", Access::kReadOnly), EBUSY, "/data"));
  EXPECT_TRUE(Fails(CheckImage(files_, "/a", {}), EBUSY, "/a"));
  EXPECT_TRUE(OpenImage(files_, "/a", {.share_writes = true}).ok());
  EXPECT_TRUE(OpenImage(files_, "/a", {.lock = false}).ok());
}

TEST_F(OpenTest, ReadersExcludeWritersOnly) {
  MakeQed("/a", base_.size());
  const auto reader = Open("/a");
  EXPECT_TRUE(TryOpen("/a", Access::kReadOnly).ok());
  EXPECT_TRUE(Fails(TryOpen("/a", Access::kReadWrite), EBUSY, "/a"));
}

TEST_F(OpenTest, SharedReadersExcludeNobody) {
  MakeQed("/a", base_.size());
  const auto reader = Must(OpenImage(files_, "/a", {.share_writes = true}));
  EXPECT_TRUE(TryOpen("/a", Access::kReadWrite).ok());
}

TEST_F(OpenTest, OverlaysShareABackingFileThatNobodyMayWrite) {
  MakeQed("/a", base_.size());
  MakeAddCow("/b", base_.size());
  {
    const auto a = Open("/a", Access::kReadWrite);
    const auto b = Open("/b", Access::kReadWrite);
    WriteDisk(*a, 0, "a");
    WriteDisk(*b, 0, "b");
    EXPECT_TRUE(Fails(TryOpen("/base", Access::kReadWrite), EBUSY, "/base"));
    EXPECT_TRUE(TryOpen("/base", Access::kReadOnly).ok());
  }
  EXPECT_TRUE(TryOpen("/base", Access::kReadWrite).ok());
}

TEST_F(OpenTest, AnOverlayDoesNotOpenOverAWriter) {
  MakeQed("/a", base_.size());
  const auto writer = Open("/base", Access::kReadWrite);
  EXPECT_TRUE(Fails(TryOpen("/a", Access::kReadOnly), EBUSY, "/base"));
}

TEST_F(OpenTest, ARefusedOpenLeavesNoLocks) {
  MakeQed("/a", base_.size());
  auto writer = Open("/base", Access::kReadWrite);
  EXPECT_FALSE(TryOpen("/a", Access::kReadWrite).ok());
  writer.reset();
  EXPECT_TRUE(TryOpen("/a", Access::kReadWrite).ok());
}

// ---- NEED_CHECK and feature bits ----

// Of RawQed images: byte 16.
uint64_t FeaturesOf(const std::string& bytes) {
  return static_cast<uint8_t>(bytes[qed::kFeaturesOffset]);
}

class FeatureTest : public OpenTest {
 protected:
  std::string NeedsCheck() {
    RawQed image;
    image.header.features = qed::kFeatureNeedCheck;
    return image.Bytes();
  }
};

TEST_F(FeatureTest, LeaksAreFixedAndNeedCheckIsCleared) {
  const std::string sound = NeedsCheck();
  files_.SetContents("/a", sound + std::string(3 * kCluster, 'L'));
  const auto image = Open("/a", Access::kReadWrite);
  EXPECT_EQ(FeaturesOf(files_.Contents("/a")), 0u);
  EXPECT_EQ(files_.Contents("/a").size(), sound.size());
  EXPECT_EQ(ReadDisk(*image, {kCluster - 1, 2}), "AB");
  WriteDisk(*image, 5 * kCluster, "x");
}

TEST_F(FeatureTest, ALeakBetweenClustersInUseDoesNotMatter) {
  std::string bytes = NeedsCheck();
  Overwrite(bytes, RawQed::kL2, Little64(0));
  files_.SetContents("/a", bytes);
  WriteDisk(*Open("/a", Access::kReadWrite), 0, "x");
  EXPECT_EQ(FeaturesOf(files_.Contents("/a")), 0u);
}

TEST_F(FeatureTest, WithDamageAnImageCanOnlyBeRead) {
  std::string bytes = NeedsCheck();
  Overwrite(bytes, RawQed::kL2 + 24, Little64(RawQed::kL1));
  files_.SetContents("/a", bytes);
  EXPECT_TRUE(Fails(TryOpen("/a", Access::kReadWrite), EROFS, "check -r all"));
  EXPECT_TRUE(files_.Contents("/a") == bytes);
  EXPECT_EQ(ReadDisk(*Open("/a"), {0, 1}), "A");
}

TEST_F(FeatureTest, AClusterUsedTwiceIsDamage) {
  std::string bytes = NeedsCheck();
  Overwrite(bytes, RawQed::kL2 + 24, Little64(RawQed::kData));
  files_.SetContents("/a", bytes);
  EXPECT_TRUE(Fails(TryOpen("/a", Access::kReadWrite), EROFS, "/a"));
}

TEST_F(FeatureTest, RepairMakesADamagedImageWritableAgain) {
  std::string bytes = NeedsCheck();
  Overwrite(bytes, RawQed::kL2 + 24, Little64(RawQed::kL1));
  files_.SetContents("/a", bytes);
  CheckOptions options;
  options.repair = Repair::kAll;
  const auto check = Must(CheckImage(files_, "/a", options));
  EXPECT_EQ(check.corruptions, 0u);
  EXPECT_EQ(check.corruptions_fixed, 1u);
  ASSERT_EQ(check.changed.size(), 1u);
  EXPECT_TRUE(absl::StrContains(check.changed[0], "12288 to 16383"))
      << check.changed[0];
  EXPECT_TRUE(TryOpen("/a", Access::kReadWrite).ok());
}

TEST_F(FeatureTest, AReadOnlyOpenLeavesNeedCheck) {
  const std::string bytes = NeedsCheck() + std::string(kCluster, 'L');
  files_.SetContents("/a", bytes);
  EXPECT_TRUE(Open("/a")->Info().needs_check);
  EXPECT_TRUE(files_.Contents("/a") == bytes);
}

TEST_F(FeatureTest, MakeWritableChecksToo) {
  files_.SetContents("/a", NeedsCheck() + std::string(kCluster, 'L'));
  const auto image = Open("/a");
  Must(image->MakeWritable());
  EXPECT_EQ(FeaturesOf(files_.Contents("/a")), 0u);
  WriteDisk(*image, 9 * kCluster, "x");
}

TEST_F(FeatureTest, WritingDoesNotSetNeedCheck) {
  files_.SetContents("/a", RawQed().Bytes());
  const auto image = Open("/a", Access::kReadWrite);
  WriteDisk(*image, 9 * kCluster, "x");
  EXPECT_EQ(FeaturesOf(files_.Contents("/a")), 0u);
}

TEST_F(FeatureTest, AutoclearBitsGoAtTheFirstWritableOpenOnly) {
  RawQed raw;
  raw.header.autoclear_features = 0x8000000000000005;
  raw.header.compat_features = 0x8000000000000003;
  const std::string bytes = raw.Bytes();
  files_.SetContents("/a", bytes);
  { const auto image = Open("/a"); }
  EXPECT_TRUE(files_.Contents("/a") == bytes);
  { const auto image = Open("/a", Access::kReadWrite); }
  std::string cleared = bytes;
  Overwrite(cleared, qed::kAutoclearOffset, Little64(0));
  EXPECT_TRUE(files_.Contents("/a") == cleared);
}

TEST_F(FeatureTest, UnknownCompatibleBitsAreKept) {
  std::string bytes = RawAddCow{.bits = ""}.Bytes();
  Overwrite(bytes, addcow::kCompatOffset, Little64(0x8000000000000002));
  files_.SetContents("/a", bytes);
  files_.SetContents("/img", std::string(base_.size(), 'g'));
  {
    const auto image = Open("/a", Access::kReadWrite);
    WriteDisk(*image, 0, "x");
    Must(image->Resize(base_.size() + 1));
  }
  EXPECT_EQ(files_.Contents("/a").substr(0, kCluster),
            bytes.substr(0, kCluster));
}

TEST_F(FeatureTest, UnknownIncompatibleBitsAreRefused) {
  std::string bytes = RawAddCow().Bytes();
  Overwrite(bytes, 24, Little64(1));
  files_.SetContents("/a", bytes);
  EXPECT_TRUE(Fails(TryOpen("/a", Access::kReadOnly), ENOTSUP, "features"));
  RawQed raw;
  raw.header.features = 8;
  files_.SetContents("/b", raw.Bytes());
  EXPECT_TRUE(Fails(TryOpen("/b", Access::kReadOnly), ENOTSUP, "features"));
}

// ---- add-cow ----

TEST_F(OpenTest, AllAllocatedDoesNotOpenTheBackingFile) {
  std::string bytes = RawAddCow{.backing = "gone", .bits = ""}.Bytes();
  bytes[addcow::kCompatOffset] = 1;
  files_.SetContents("/a", bytes);
  files_.SetContents("/img", base_);
  const auto image = Open("/a", Access::kReadWrite);
  EXPECT_EQ(image->ChainPaths(), (std::vector<std::string>{"/a", "/img"}));
  WriteDisk(*image, 0, "x");
  Must(image->Flush());
  EXPECT_EQ(files_.Contents("/img")[0], 'x');
  EXPECT_TRUE(files_.Contents("/a") == bytes);
}

TEST_F(OpenTest, AShortBitmapReadsAsZeroAndGrowsAtTheFirstWrite) {
  std::string bytes = RawAddCow{.bits = ""}.Bytes();
  bytes.resize(kCluster);
  files_.SetContents("/a", bytes);
  files_.SetContents("/img", std::string(base_.size(), 'g'));
  const auto image = Open("/a", Access::kReadWrite);
  EXPECT_TRUE(Shows(*image, base_));
  EXPECT_TRUE(files_.Contents("/a") == bytes);
  WriteDisk(*image, kCluster, std::string(kCluster, 'x'));
  Must(image->Flush());
  bytes.resize(2 * kCluster, '\0');
  bytes[kCluster] = 2;
  EXPECT_TRUE(files_.Contents("/a") == bytes);
}

TEST_F(OpenTest, AnImageFileKeepsAnOddLength) {
  const uint64_t size = 2 * kCluster + 333;
  MakeAddCow("/a", size);
  {
    const auto image = Open("/a", Access::kReadWrite);
    EXPECT_EQ(image->Size(), size);
    WriteDisk(*image, size - 1, "x");
    uint8_t bytes[2] = {1, 2};
    EXPECT_EQ(Must(image->Write(size - 1, bytes)), 1u);
    EXPECT_EQ(Must(image->Read(size - 1, absl::MakeSpan(bytes))), 1u);
    EXPECT_TRUE(Fails(image->Write(size, bytes), ENOSPC, "/a"));
    EXPECT_EQ(Must(image->Read(size, absl::MakeSpan(bytes))), 0u);
  }
  EXPECT_EQ(files_.Contents("/data").size(), size);
  std::string content = BaseOf(size);
  content[size - 1] = 1;
  EXPECT_TRUE(Shows(*Open("/a"), content));
}

TEST_F(OpenTest, BitsPastTheEndAreIgnoredAndCleared) {
  files_.SetContents("/img", std::string(3 * kCluster, 'g'));
  files_.SetContents("/a", RawAddCow{.bits = "\xf1\xff"}.Bytes());
  {
    const auto image = Open("/a");
    EXPECT_EQ(ReadDisk(*image, {kCluster - 1, 2}),
              "g" + base_.substr(kCluster, 1));
  }
  CheckOptions options;
  EXPECT_EQ(Must(CheckImage(files_, "/a", options)).corruptions, 0u);
  options.repair = Repair::kAll;
  EXPECT_EQ(Must(CheckImage(files_, "/a", options)).changed.size(), 1u);
  EXPECT_EQ(files_.Contents("/a").substr(kCluster, 2),
            std::string("\x01\x00", 2));
}

// ---- What an image tells ----

TEST_F(OpenTest, AProbedRawBackingFileIsWarnedOf) {
  files_.SetContents("/a", RawQed().Bytes("base", /*raw_backing=*/false));
  const auto image = Open("/a");
  ASSERT_EQ(image->Warnings().size(), 1u);
  EXPECT_TRUE(absl::StrContains(image->Warnings()[0], "rebase -u -F raw"));
  files_.SetContents("/b", RawQed().Bytes("base"));
  EXPECT_TRUE(Open("/b")->Warnings().empty());
}

TEST_F(OpenTest, InfoAndChainPaths) {
  files_.SetContents("/dir/base", base_);
  files_.SetContents("/dir/img", std::string(5000, '\0'));
  files_.SetContents("/dir/a", RawAddCow().Bytes());
  files_.Symlink("dir/a", "/link");
  const auto image = Open("/link");
  const ImageInfo& info = image->Info();
  EXPECT_EQ(info.path, "/dir/a");
  EXPECT_EQ(info.format, "add-cow");
  EXPECT_EQ(info.virtual_size, 5000u);
  EXPECT_EQ(info.cluster_size, 4096u);
  EXPECT_EQ(info.backing,
            (ImageLink{.name = "base", .path = "/dir/base", .format = "raw"}));
  EXPECT_EQ(info.data_file,
            (ImageLink{.name = "img", .path = "/dir/img", .format = "raw"}));
  EXPECT_EQ(image->ChainPaths(),
            (std::vector<std::string>{"/dir/a", "/dir/img", "/dir/base"}));
}

TEST_F(OpenTest, AllocateKeepsTheContentAndNeedsNoMoreSpace) {
  MakeQed("/a", base_.size());
  const auto image = Open("/a", Access::kReadWrite);
  Must(image->Allocate({kCluster + 5, 2 * kCluster}));
  EXPECT_TRUE(Shows(*image, base_));
  const uint64_t size = files_.Contents("/a").size();
  WriteDisk(*image, kCluster, std::string(3 * kCluster, 'x'));
  EXPECT_EQ(files_.Contents("/a").size(), size);
  for (const Segment& segment : Must(image->Map({kCluster, 3 * kCluster}))) {
    EXPECT_EQ(segment.depth, 0);
    EXPECT_EQ(segment.kind, Segment::Kind::kData);
  }
}

TEST_F(OpenTest, AllocatedBytes) {
  Make(files_, "/empty", {.size = 64 * kCluster});
  MakeQed("/a", 64 * kCluster, "empty");
  const auto image = Open("/a", Access::kReadWrite);
  // The header of the image itself, no data.
  const uint64_t before = Must(image->AllocatedBytes());
  WriteDisk(*image, 0, std::string(2 * kCluster, 'x'));
  EXPECT_GE(Must(image->AllocatedBytes()), before + 2 * kCluster);
  EXPECT_LE(Must(image->AllocatedBytes()), image->Size());

  Make(files_, "/raw", {.size = 64 * kCluster});
  EXPECT_EQ(Must(Open("/raw")->AllocatedBytes()), 0u);
  MakeAddCow("/b", 64 * kCluster, "data", "empty");
  EXPECT_EQ(Must(Open("/b")->AllocatedBytes()), 0u);
}

TEST_F(OpenTest, MapIsExact) {
  // base: 2 clusters of data, 2 of hole, 1 of data; the disk goes on.
  files_.SetContents("/base", std::string(2 * kCluster, 'a') +
                                  std::string(2 * kCluster, '\0') +
                                  std::string(kCluster, 'b'));
  MakeAddCow("/middle", 8 * kCluster);
  {
    const auto middle = Open("/middle", Access::kReadWrite);
    WriteDisk(*middle, kCluster, std::string(kCluster, 'm'));
  }
  Make(files_, "/a",
       {.format = "qed",
        .size = 8 * kCluster,
        .backing_file = "middle",
        .backing_format = "add-cow",
        .cluster_size = kCluster,
        .table_size = 2});
  const auto image = Open("/a", Access::kReadWrite);
  WriteDisk(*image, 6 * kCluster, std::string(kCluster, 't'));
  Must(image->WriteZeroes({4 * kCluster, kCluster}));
  EXPECT_EQ(Describe(Must(image->Map({0, 8 * kCluster}))),
            "data +4096 @2 /base 0\n"
            "data +4096 @1 /data 4096\n"
            "zero +8192 @2 /base 8192\n"
            "zero +4096 @0\n"
            "zero +4096\n"
            "data +4096 @0 /a 20480\n"
            "zero +4096\n");
  EXPECT_EQ(Describe(Must(image->Map({kCluster - 1, 2}))),
            "data +1 @2 /base 4095\n"
            "data +1 @1 /data 4096\n");
  EXPECT_TRUE(Fails(image->Map({0, 8 * kCluster + 1}), EFBIG, "/a"));
}

}  // namespace
}  // namespace flatcow
