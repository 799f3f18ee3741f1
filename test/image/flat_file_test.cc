// SPDX-License-Identifier: Apache-2.0
//
// Images that are, byte for byte, one host file: which are, when an add-cow
// image becomes one, and what happens when others write to that file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "flatcow/image.h"
#include "image/open_fixture.h"
#include "model/image_testing.h"
#include "support/recording_file_system.h"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

// With real files: the answer is a descriptor.
class FlatFileTest : public testing::Test {
 protected:
  FlatFileTest() {
    SetFile("base", base_);
    Make(PosixFileSystem(), Path("cow"),
         {.format = "add-cow",
          .size = base_.size(),
          .backing_file = "base",
          .backing_format = "raw",
          .cluster_size = kCluster,
          .data_file = "data"});
  }

  std::string Path(const std::string& name) const { return directory_ / name; }
  void SetFile(const std::string& name, const std::string& content) {
    const auto file = Must(PosixFileSystem().Create(Path(name)));
    const iovec piece{const_cast<char*>(content.data()), content.size()};
    Must(file->Write(0, absl::MakeConstSpan(&piece, 1)));
  }
  std::unique_ptr<Image> Open(const std::string& name, Access access) {
    return Must(OpenImage(PosixFileSystem(), Path(name), {.access = access}));
  }
  // Whether FlatFile() names this file.
  bool IsFlatAs(Image& image, const std::string& name, bool never_written) {
    const int descriptor = image.FlatFile(never_written);
    struct stat answer;
    struct stat wanted;
    return descriptor >= 0 && fstat(descriptor, &answer) == 0 &&
           stat(Path(name).c_str(), &wanted) == 0 &&
           answer.st_ino == wanted.st_ino;
  }

  TemporaryDirectory directory_;
  const std::string base_ = PatternText(1, 16 * kCluster);
};

TEST_F(FlatFileTest, ImageFileOnceEveryClusterIsWrittenAndFlushed) {
  const std::string content = PatternText(2, base_.size());
  {
    const auto image = Open("cow", Access::kReadWrite);
    WriteDisk(*image, 0, content.substr(0, content.size() - kCluster));
    Must(image->Flush());
    EXPECT_EQ(image->FlatFile(/*never_written=*/false), -1);
    WriteDisk(*image, content.size() - kCluster,
              content.substr(content.size() - kCluster));
    EXPECT_EQ(image->FlatFile(/*never_written=*/false), -1);
    Must(image->Flush());
    EXPECT_TRUE(IsFlatAs(*image, "data", /*never_written=*/false));
    EXPECT_TRUE(Shows(*image, content));
  }
  const auto image = Open("cow", Access::kReadOnly);
  EXPECT_TRUE(image->Info().all_allocated);
  EXPECT_TRUE(IsFlatAs(*image, "data", /*never_written=*/false));
  EXPECT_EQ(image->ChainPaths().size(), 2u) << "the backing file is not needed";
  EXPECT_TRUE(Shows(*image, content));
}

TEST_F(FlatFileTest, BackingFileOfAnImageThatHoldsNothing) {
  const auto image = Open("cow", Access::kReadOnly);
  EXPECT_EQ(image->FlatFile(/*never_written=*/false), -1);
  EXPECT_TRUE(IsFlatAs(*image, "base", /*never_written=*/true));
}

TEST_F(FlatFileTest, NoneForAnImageThatHoldsSomething) {
  WriteDisk(*Open("cow", Access::kReadWrite), 5 * kCluster, "something");
  EXPECT_EQ(Open("cow", Access::kReadOnly)->FlatFile(/*never_written=*/true),
            -1);
}

TEST_F(FlatFileTest, NoneWhereTheBackingFileHasAnotherSize) {
  for (const uint64_t size : {base_.size() - kCluster, base_.size() + 512}) {
    const std::string name = "other" + std::to_string(size);
    Make(PosixFileSystem(), Path(name),
         {.format = "qed",
          .size = size,
          .backing_file = "base",
          .backing_format = "raw"});
    EXPECT_EQ(Open(name, Access::kReadOnly)->FlatFile(/*never_written=*/true),
              -1);
  }
}

TEST_F(FlatFileTest, RawImageIsItself) {
  const auto image = Open("base", Access::kReadWrite);
  EXPECT_TRUE(IsFlatAs(*image, "base", /*never_written=*/false));
}

TEST_F(FlatFileTest, GrowsWithTheFile) {
  const auto image = Open("base", Access::kReadWrite);
  ASSERT_GE(image->FlatFile(/*never_written=*/false), 0);
  Must(image->AdoptGrowth());
  EXPECT_EQ(image->Size(), base_.size());
  {
    const auto file =
        Must(PosixFileSystem().Open(Path("base"), Access::kReadWrite));
    Must(file->Truncate(base_.size() + 777));
  }
  EXPECT_EQ(image->Size(), base_.size());
  Must(image->AdoptGrowth());
  EXPECT_EQ(image->Size(), base_.size() + 777);
  EXPECT_TRUE(Shows(*image, base_ + std::string(777, '\0')));
  // A file that was cut is damage, not a smaller disk.
  Must(Must(PosixFileSystem().Open(Path("base"), Access::kReadWrite))
           ->Truncate(base_.size()));
  Must(image->AdoptGrowth());
  EXPECT_EQ(image->Size(), base_.size() + 777);
}

TEST_F(FlatFileTest, GrowthOfAFileThatIsNotHandedOutChangesNothing) {
  const auto image = Open("cow", Access::kReadWrite);
  Must(Must(PosixFileSystem().Open(Path("data"), Access::kReadWrite))
           ->Truncate(2 * base_.size()));
  Must(image->AdoptGrowth());
  EXPECT_EQ(image->Size(), base_.size());
}

// An overlay of two clusters, and what is done to its files.
class AllAllocatedTest : public testing::Test {
 protected:
  AllAllocatedTest() {
    memory_.SetContents("/base", PatternText(1, 2 * kCluster));
    Make(memory_, "/cow",
         {.format = "add-cow",
          .size = 2 * kCluster,
          .backing_file = "base",
          .backing_format = "raw",
          .cluster_size = kCluster,
          .data_file = "data"});
    image_ = Must(OpenImage(files_, "/cow", {.access = Access::kReadWrite}));
  }

  bool IsMarked() {
    return Must(OpenImage(memory_, "/cow", {.lock = false}))
        ->Info()
        .all_allocated;
  }

  MemoryFileSystem memory_;
  RecordingFileSystem files_{memory_};
  std::unique_ptr<Image> image_;
};

// The flag must not be on disk before what it speaks of.
TEST_F(AllAllocatedTest, ComesAfterDataAndBits) {
  WriteDisk(*image_, 0, PatternText(2, 2 * kCluster));
  Must(image_->Flush());
  std::vector<std::string> steps;
  for (const FileOperation& operation : files_.Operations()) {
    if (operation.kind == FileOperation::Kind::kSync) {
      steps.push_back("sync " + operation.path);
    } else if (operation.kind == FileOperation::Kind::kWrite &&
               operation.path == "/cow") {
      steps.push_back(operation.offset < kCluster ? "flag" : "bits");
    }
  }
  EXPECT_THAT(steps, testing::ElementsAre("sync /data", "bits", "sync /cow",
                                          "flag", "sync /cow"));
  EXPECT_TRUE(IsMarked());
}

// What is published while a round runs waits for the next one.
TEST_F(AllAllocatedTest, WaitsForAClusterThatWasWrittenDuringTheRound) {
  WriteDisk(*image_, 0, "first");
  bool written = false;
  files_.SetHook([&](const FileOperation& operation) {
    if (operation.kind != FileOperation::Kind::kSync || written) return;
    written = true;
    WriteDisk(*image_, kCluster, "last");
  });
  Must(image_->Flush());
  files_.SetHook(nullptr);
  EXPECT_TRUE(written);
  EXPECT_FALSE(IsMarked());
  Must(image_->Flush());
  EXPECT_TRUE(IsMarked());
}

// However large the disk, a flush looks at a bounded part of its bitmap.
TEST_F(AllAllocatedTest, OfALargeDiskIsFoundOverSeveralFlushes) {
  constexpr uint64_t kBitmapBytes = 5 << 20;
  image_.reset();
  const std::string head = memory_.Contents("/cow").substr(0, 4096);
  memory_.SetContents("/cow", head + std::string(kBitmapBytes, '\xff'));
  Must(Must(memory_.Open("/data", Access::kReadWrite))
           ->Truncate(kBitmapBytes * 8 * kCluster));
  image_ = Must(OpenImage(memory_, "/cow", {.access = Access::kReadWrite}));
  int flushes = 0;
  while (!IsMarked() && flushes < 10) {
    Must(image_->Flush());
    ++flushes;
  }
  EXPECT_EQ(flushes, 3) << "2 MiB a flush";
}

// Nobody but the file's users knows what is written to it.
TEST(HandedOutTest, EveryFlushSyncsTheFile) {
  TemporaryDirectory directory;
  Must(Must(PosixFileSystem().Create(directory / "disk"))->Truncate(kCluster));
  RecordingFileSystem files(PosixFileSystem());
  const auto image = Must(
      OpenImage(files, directory / "disk", {.access = Access::kReadWrite}));
  Must(image->Flush());
  files.Clear();
  Must(image->Flush());
  EXPECT_EQ(files.Count(), 0u);
  ASSERT_GE(image->FlatFile(/*never_written=*/false), 0);
  for (size_t flushes = 1; flushes <= 2; ++flushes) {
    Must(image->Flush());
    EXPECT_EQ(files.Count(), flushes);
  }
}

}  // namespace
}  // namespace flatcow
