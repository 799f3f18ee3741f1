// SPDX-License-Identifier: Apache-2.0
//
// Disks that fail or are full: what is lost, and what goes on.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>

#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "model/image_testing.h"
#include "support/fault_injection_file_system.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kSize = 64 * kCluster;

class FailureTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    memory_.SetContents("/base", base_);
    if (Qed()) {
      Make(memory_, path_,
           {.format = "qed",
            .backing_file = "base",
            .backing_format = "raw",
            .cluster_size = kCluster,
            .table_size = 4});
    } else {
      Make(memory_, path_,
           {.format = "add-cow",
            .backing_file = "base",
            .backing_format = "raw",
            .cluster_size = kCluster,
            .data_file = "data"});
    }
    Open();
  }

  void Open() {
    image_.reset();
    image_ = Must(OpenImage(files_, path_, Writable()));
  }

  bool Qed() const { return GetParam() == "qed"; }
  std::string DataPath() const { return Qed() ? path_ : "/data"; }

  absl::Status TryWrite(uint64_t offset, const std::string& data) {
    return image_
        ->Write(offset,
                absl::MakeConstSpan(
                    reinterpret_cast<const uint8_t*>(data.data()), data.size()))
        .status();
  }

  const std::string path_ = Qed() ? "/a.qed" : "/a.acow";
  const std::string base_ = PatternText(7, kSize);
  MemoryFileSystem memory_;
  FaultInjectionFileSystem files_{memory_};
  std::unique_ptr<Image> image_;
};

TEST_P(FailureTest, AfterAFailedSyncOnlyReadsGoOnUntilReopened) {
  WriteDisk(*image_, 0, PatternText(1, kCluster));
  files_.Inject({.kinds = kSyncFault, .nth = 1});
  EXPECT_TRUE(Fails(image_->Flush(), EIO, path_));
  // The second try proves nothing although the disk works again.
  EXPECT_TRUE(Fails(image_->Flush(), EIO, path_));
  EXPECT_TRUE(Fails(TryWrite(0, "x"), EIO, path_));
  EXPECT_TRUE(Fails(image_->WriteZeroes({0, 1}), EIO, path_));
  EXPECT_TRUE(Fails(image_->Allocate({0, 1}), EIO, path_));
  EXPECT_TRUE(Fails(image_->Resize(2 * kSize), EIO, path_));
  // The data may be lost: what is read is what is durable.
  EXPECT_TRUE(Shows(*image_, base_));
  // Flush() has the failure to tell.
  EXPECT_TRUE(image_->NeedsFlush());
  Open();
  WriteDisk(*image_, 0, PatternText(2, kCluster));
  Must(image_->Flush());
  EXPECT_EQ(ReadDisk(*image_, {0, kCluster}), PatternText(2, kCluster));
}

// Data and tables have a sync each, QED's pointers too.
TEST_P(FailureTest, EverySyncOfARoundCounts) {
  const uint64_t syncs = Qed() ? 3 : 2;
  image_.reset();
  for (uint64_t nth = 1; nth <= syncs; ++nth) {
    SCOPED_TRACE(nth);
    const auto fresh = memory_.Snapshot();
    FaultInjectionFileSystem files(*fresh);
    auto image = Must(OpenImage(files, path_, Writable()));
    WriteDisk(*image, 0, PatternText(1, kCluster));
    files.Inject({.kinds = kSyncFault, .nth = nth});
    EXPECT_TRUE(Fails(image->Flush(), EIO, path_));
    EXPECT_EQ(files.Injected(), 1u);
    EXPECT_TRUE(Fails(image->Flush(), EIO, path_));
    files.Clear();
    image.reset();
    EXPECT_EQ(Must(CheckImage(*fresh, path_, {})).corruptions, 0u);
  }
}

TEST_P(FailureTest, AMetadataWriteThatFailsIsTriedAgainByTheNextFlush) {
  WriteDisk(*image_, 0, PatternText(1, kCluster));
  files_.Inject({.kinds = kWriteFault, .error = ENOSPC, .partial = true});
  EXPECT_TRUE(Fails(image_->Flush(), ENOSPC, path_));
  EXPECT_TRUE(image_->NeedsFlush());
  WriteDisk(*image_, 5 * kCluster, PatternText(2, kCluster));
  Must(image_->Flush());
  EXPECT_FALSE(image_->NeedsFlush());
  std::string content = base_;
  Overwrite(content, 0, PatternText(1, kCluster));
  Overwrite(content, 5 * kCluster, PatternText(2, kCluster));
  Open();
  EXPECT_TRUE(Shows(*image_, content));
  image_.reset();
  EXPECT_TRUE(IsClean(memory_, path_));
}

TEST_P(FailureTest, AMetadataWriteThatNeverWorksPublishesNothing) {
  WriteDisk(*image_, 0, PatternText(1, kCluster));
  files_.Inject({.kinds = kWriteFault, .nth = 1, .forever = true});
  EXPECT_TRUE(Fails(image_->Flush(), EIO, path_));
  EXPECT_TRUE(Fails(image_->Flush(), EIO, path_));
  image_.reset();
  files_.Clear();
  Open();
  EXPECT_TRUE(Shows(*image_, base_));
}

// The size in the header is never half the old and half the new one.
TEST_P(FailureTest, AResizeThatFailsLeavesTheOldSize) {
  for (uint64_t nth = 1;; ++nth) {
    SCOPED_TRACE(nth);
    Open();
    const uint64_t before = files_.Injected();
    files_.Inject({.kinds = kWriteFault | kTruncateFault | kAllocateFault,
                   .nth = nth,
                   .error = ENOSPC,
                   .partial = true});
    const absl::Status status = image_->Resize(kSize + (uint64_t{5} << 30));
    files_.Clear();
    if (files_.Injected() == before) break;
    EXPECT_TRUE(Fails(status, ENOSPC));
    EXPECT_EQ(image_->Size(), kSize);
    Open();
    EXPECT_TRUE(Shows(*image_, base_));
  }
  EXPECT_EQ(image_->Size(), kSize + (uint64_t{5} << 30));
}

TEST_P(FailureTest, AFailedFlushPublishesNothing) {
  const std::string before = memory_.Contents(path_);
  WriteDisk(*image_, 0, PatternText(1, kCluster));
  files_.Inject({.kinds = kSyncFault, .nth = 1});
  EXPECT_FALSE(image_->Flush().ok());
  image_.reset();
  EXPECT_EQ(memory_.Contents(path_).substr(0, before.size()), before);
}

TEST_P(FailureTest, AFailedDataWritePublishesNothing) {
  files_.Inject({.kinds = kWriteFault, .path = DataPath(), .partial = true});
  EXPECT_TRUE(Fails(TryWrite(kCluster + 5, "hello"), EIO, DataPath()));
  EXPECT_TRUE(Shows(*image_, base_));
  // No sync failed: the image can be used.
  WriteDisk(*image_, kCluster + 5, "hello");
  std::string content = base_;
  Overwrite(content, kCluster + 5, "hello");
  EXPECT_TRUE(Shows(*image_, content));
  Must(image_->Flush());
  Open();
  EXPECT_TRUE(Shows(*image_, content));
  image_.reset();
  EXPECT_TRUE(IsClean(memory_, path_));
}

TEST_P(FailureTest, SpaceOfAFailedWriteLeavesTheFile) {
  WriteDisk(*image_, 60 * kCluster, "a table");
  const uint64_t size = Must(memory_.Stat(DataPath())).size;
  files_.Inject({.kinds = kWriteFault, .path = DataPath(), .partial = true});
  EXPECT_FALSE(TryWrite(0, PatternText(9, 4 * kCluster)).ok());
  EXPECT_EQ(Must(memory_.Stat(DataPath())).size, size);
  // What takes its place has none of its bytes.
  std::string content = base_;
  Overwrite(content, 60 * kCluster, "a table");
  WriteDisk(*image_, kCluster + 100, "hi");
  Overwrite(content, kCluster + 100, "hi");
  EXPECT_TRUE(Shows(*image_, content));
  image_.reset();
  EXPECT_TRUE(IsClean(memory_, path_));
}

// Where the file can't be cut: also when the space comes back to a request of
// another size, and with old bytes in it that no guest may see.
TEST_P(FailureTest, AReservationOfAFailedWriteIsUsedAgain) {
  WriteDisk(*image_, 60 * kCluster, "a table");
  files_.Inject({.kinds = kWriteFault, .path = DataPath(), .partial = true});
  files_.Inject({.kinds = kTruncateFault, .path = DataPath(), .nth = 2});
  EXPECT_FALSE(TryWrite(0, PatternText(9, 4 * kCluster)).ok());
  const uint64_t size = Must(memory_.Stat(DataPath())).size;
  std::string content = base_;
  Overwrite(content, 60 * kCluster, "a table");
  for (const uint64_t cluster : {20u, 30u, 40u, 50u}) {
    WriteDisk(*image_, cluster * kCluster + 100, "hi");
    Overwrite(content, cluster * kCluster + 100, "hi");
  }
  EXPECT_EQ(Must(memory_.Stat(DataPath())).size, size);
  EXPECT_TRUE(Shows(*image_, content));
  image_.reset();
  EXPECT_TRUE(IsClean(memory_, path_));
}

// The guest sees that part, so a flush must make it durable.
TEST_P(FailureTest, APartOfAFailedWriteIsSynced) {
  WriteDisk(*image_, 0, PatternText(1, kCluster));
  Must(image_->Flush());
  files_.Inject({.kinds = kWriteFault, .path = DataPath(), .partial = true});
  EXPECT_TRUE(Fails(TryWrite(0, PatternText(2, kCluster)), EIO, DataPath()));
  EXPECT_EQ(ReadDisk(*image_, {0, 512}), PatternText(2, 512));
  const uint64_t syncs = files_.Count(kSyncFault);
  Must(image_->Flush());
  EXPECT_EQ(files_.Count(kSyncFault), syncs + 1);
}

TEST_P(FailureTest, ACopyOnWriteReadThatFailsFailsTheWriteOnly) {
  files_.Inject({.kinds = kReadFault, .path = "/base"});
  EXPECT_TRUE(Fails(TryWrite(5, "hello"), EIO, "/base"));
  EXPECT_TRUE(Shows(*image_, base_));
  WriteDisk(*image_, 5, "hello");
  image_.reset();
  EXPECT_TRUE(IsClean(memory_, path_));
}

// Every operation on the way of an allocating write runs out of space once.
TEST_P(FailureTest, OutOfSpaceFailsThatWriteOnly) {
  constexpr uint32_t kSpace = kWriteFault | kTruncateFault | kAllocateFault;
  const uint64_t before = files_.Count(kSpace);
  std::string content = base_;
  WriteDisk(*image_, 0, "ok");
  Overwrite(content, 0, "ok");
  const uint64_t steps = files_.Count(kSpace) - before;
  ASSERT_GE(steps, 2u);
  for (uint64_t nth = 1; nth <= steps; ++nth) {
    SCOPED_TRACE(nth);
    image_.reset();
    const auto fresh = memory_.Snapshot();
    fresh->SetContents(path_, memory_.Contents(path_));
    FaultInjectionFileSystem files(*fresh);
    auto image = Must(OpenImage(files, path_, Writable()));
    // For QED cluster 0 has its table by now; a fresh image shows its making.
    files.Inject({.kinds = kSpace, .nth = nth, .error = ENOSPC});
    const uint64_t offset = (10 + nth) * kCluster + 7;
    const std::string data = "hello";
    const auto done = image->Write(
        offset,
        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(data.data()),
                            data.size()));
    std::string expected = content;
    if (files.Injected() != 0) {
      EXPECT_TRUE(Fails(done, ENOSPC));
    } else {
      Overwrite(expected, offset, data);
    }
    files.Clear();
    EXPECT_TRUE(Shows(*image, expected));
    WriteDisk(*image, 50 * kCluster, "later");
    Overwrite(expected, 50 * kCluster, "later");
    Must(image->Flush());
    image.reset();
    EXPECT_TRUE(IsClean(*fresh, path_));
    image = Must(OpenImage(*fresh, path_, {}));
    EXPECT_TRUE(Shows(*image, expected));
  }
}

// The same on an image without any table or bitmap page.
TEST_P(FailureTest, OutOfSpaceOnTheFirstWriteEver) {
  constexpr uint32_t kSpace = kWriteFault | kTruncateFault | kAllocateFault;
  image_.reset();
  for (uint64_t nth = 1;; ++nth) {
    SCOPED_TRACE(nth);
    const auto fresh = memory_.Snapshot();
    FaultInjectionFileSystem files(*fresh);
    auto image = Must(OpenImage(files, path_, Writable()));
    files.Inject({.kinds = kSpace, .nth = nth, .error = ENOSPC});
    const std::string data = "hello";
    const auto done = image->Write(
        kCluster + 7,
        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(data.data()),
                            data.size()));
    if (files.Injected() == 0) break;
    files.Clear();
    EXPECT_TRUE(Fails(done, ENOSPC));
    EXPECT_TRUE(Shows(*image, base_));
    std::string expected = base_;
    WriteDisk(*image, 50 * kCluster, "later");
    Overwrite(expected, 50 * kCluster, "later");
    Must(image->Flush());
    image.reset();
    EXPECT_TRUE(IsClean(*fresh, path_));
    image = Must(OpenImage(*fresh, path_, {}));
    EXPECT_TRUE(Shows(*image, expected));
  }
}

// A disk that stays full: the flush of what was accepted must not need space.
TEST_P(FailureTest, AFlushNeedsNoSpace) {
  WriteDisk(*image_, 0, PatternText(1, kCluster));
  files_.Inject({.kinds = kTruncateFault | kAllocateFault,
                 .error = ENOSPC,
                 .forever = true});
  Must(image_->Flush());
  files_.Clear();
  image_.reset();
  EXPECT_TRUE(IsClean(memory_, path_));
}

INSTANTIATE_TEST_SUITE_P(Formats, FailureTest, testing::Values("qed", "addcow"),
                         [](const auto& format) { return format.param; });

}  // namespace
}  // namespace flatcow
