// SPDX-License-Identifier: Apache-2.0
//
// What is durable before what, and what a flush costs.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"
#include "support/recording_file_system.h"

namespace flatcow {
namespace {

using Kind = FileOperation::Kind;

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kSize = 64 * kCluster;
// Of QED images with 4 KiB clusters and tables of two.
constexpr uint64_t kL1Offset = kCluster;
constexpr uint64_t kFirstTable = 3 * kCluster;
constexpr uint64_t kFirstData = 5 * kCluster;

void MakeQed(FileSystem& files, const std::string& backing = "") {
  Make(files, "/a.qed",
       {.format = "qed",
        .size = kSize,
        .backing_file = backing,
        .backing_format = backing.empty() ? "" : "raw",
        .cluster_size = kCluster,
        .table_size = 2});
}

void MakeAddCow(FileSystem& files) {
  Make(files, "/base", {.size = kSize});
  Make(files, "/a.acow",
       {.format = "add-cow",
        .backing_file = "base",
        .backing_format = "raw",
        .cluster_size = kCluster,
        .data_file = "data"});
}

// What was done, in short: a line for each write and sync. Bytes of QED files
// are called by their place.
std::string Name(const FileOperation& operation) {
  std::string what = operation.path.substr(1);
  if (what == "a.qed" && operation.kind != Kind::kSync) {
    what = operation.offset < kL1Offset     ? "header"
           : operation.offset < kFirstTable ? "L1"
           : operation.offset < kFirstData  ? "L2"
                                            : "data";
  } else if (what == "a.acow" && operation.kind != Kind::kSync) {
    what = operation.offset < kCluster ? "header" : "bitmap";
  }
  return absl::StrCat(operation.kind == Kind::kSync ? "sync " : "write ", what);
}

std::vector<std::string> WritesAndSyncs(const RecordingFileSystem& files) {
  std::vector<std::string> names;
  for (const FileOperation& operation : files.Operations()) {
    if (operation.kind == Kind::kWrite || operation.kind == Kind::kSync) {
      names.push_back(Name(operation));
    }
  }
  return names;
}

size_t CountSyncs(const RecordingFileSystem& files) {
  const auto operations = files.Operations();
  return static_cast<size_t>(std::count_if(
      operations.begin(), operations.end(),
      [](const FileOperation& o) { return o.kind == Kind::kSync; }));
}

using Names = std::vector<std::string>;

// ---- Order ----

TEST(DurabilityOrderTest, QedDataThenTableThenPointer) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeQed(files);
  const auto image = Must(OpenImage(files, "/a.qed", Writable()));
  files.Clear();
  WriteDisk(*image, 0, PatternText(1, kCluster));
  EXPECT_EQ(WritesAndSyncs(files), (Names{"write data"}));
  Must(image->Flush());
  EXPECT_EQ(WritesAndSyncs(files),
            (Names{"write data", "sync a.qed", "write L2", "sync a.qed",
                   "write L1", "sync a.qed"}));
}

TEST(DurabilityOrderTest, QedWithATableAlreadyLeavesL1Alone) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeQed(files);
  const auto image = Must(OpenImage(files, "/a.qed", Writable()));
  WriteDisk(*image, 0, PatternText(1, kCluster));
  Must(image->Flush());
  files.Clear();
  WriteDisk(*image, kCluster, PatternText(2, kCluster));
  Must(image->Flush());
  EXPECT_EQ(WritesAndSyncs(files),
            (Names{"write data", "sync a.qed", "write L2", "sync a.qed"}));
}

TEST(DurabilityOrderTest, AddCowImageFileThenBitmap) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeAddCow(files);
  const auto image = Must(OpenImage(files, "/a.acow", Writable()));
  files.Clear();
  WriteDisk(*image, 100, PatternText(1, 100));
  EXPECT_EQ(WritesAndSyncs(files), (Names{"write data"}));
  Must(image->Flush());
  EXPECT_EQ(WritesAndSyncs(files),
            (Names{"write data", "sync data", "write bitmap", "sync a.acow"}));
}

// All of the inner image before the bit, which is what makes it visible.
TEST(DurabilityOrderTest, AddCowInnerImageThenBitmap) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeQed(files);
  Make(files, "/base", {.size = kSize});
  Make(files, "/a.acow",
       {.format = "add-cow",
        .backing_file = "base",
        .backing_format = "raw",
        .cluster_size = kCluster,
        .data_file = "a.qed",
        .data_format = "qed"});
  const auto image = Must(OpenImage(files, "/a.acow", Writable()));
  files.Clear();
  WriteDisk(*image, 0, PatternText(1, kCluster));
  EXPECT_EQ(WritesAndSyncs(files), (Names{"write data"}));
  EXPECT_TRUE(image->NeedsFlush());
  Must(image->Flush());
  EXPECT_EQ(WritesAndSyncs(files),
            (Names{"write data", "sync a.qed", "write L2", "sync a.qed",
                   "write L1", "sync a.qed", "write bitmap", "sync a.acow"}));
  EXPECT_FALSE(image->NeedsFlush());
  files.Clear();
  WriteDisk(*image, 8, PatternText(2, 16));
  Must(image->Flush());
  EXPECT_EQ(WritesAndSyncs(files), (Names{"write data", "sync a.qed"}));
}

TEST(DurabilityOrderTest, AddCowZeroesAreDurableBeforeTheBitmap) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeAddCow(files);
  const auto image = Must(OpenImage(files, "/a.acow", Writable()));
  Must(image->Flush());
  files.Clear();
  Must(image->WriteZeroes({0, kCluster}));
  Must(image->Flush());
  EXPECT_EQ(WritesAndSyncs(files),
            (Names{"sync data", "write bitmap", "sync a.acow"}));
}

TEST(DurabilityOrderTest, ClosingMakesAllocationsDurableInTheSameOrder) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeQed(files);
  auto image = Must(OpenImage(files, "/a.qed", Writable()));
  WriteDisk(*image, 0, PatternText(1, kCluster));
  files.Clear();
  image.reset();
  EXPECT_EQ(WritesAndSyncs(files),
            (Names{"sync a.qed", "write L2", "sync a.qed", "write L1",
                   "sync a.qed"}));
}

// What a cluster held is copied in the same write as the data.
TEST(DurabilityOrderTest, CopyOnWriteIsOneWrite) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  const std::string base = PatternText(7, kSize);
  memory.SetContents("/base", base);
  MakeQed(files, "base");
  const auto image = Must(OpenImage(files, "/a.qed", Writable()));
  files.Clear();
  WriteDisk(*image, 10, "hello");
  const auto operations = files.Operations();
  const auto write = std::find_if(
      operations.begin(), operations.end(),
      [](const FileOperation& o) { return o.kind == Kind::kWrite; });
  ASSERT_NE(write, operations.end());
  std::string cluster = base.substr(0, kCluster);
  Overwrite(cluster, 10, "hello");
  EXPECT_EQ(write->data, cluster);
  EXPECT_EQ(WritesAndSyncs(files).size(), 1u);
}

// A round must not run out of space: a table that another program made can be
// a hole.
TEST(DurabilityOrderTest, MetadataHasItsSpaceBeforeItIsUsed) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeQed(files);
  MakeAddCow(files);
  const auto allocated_by = [&](const std::string& path, uint64_t offset) {
    const auto image = Must(OpenImage(files, path, Writable()));
    files.Clear();
    WriteDisk(*image, offset, PatternText(1, kCluster));
    Names places;
    for (const FileOperation& operation : files.Operations()) {
      if (operation.kind == Kind::kAllocate) places.push_back(Name(operation));
    }
    return places;
  };
  EXPECT_EQ(allocated_by("/a.qed", 0),
            (Names{"write L1", "write L2", "write L2"}));
  EXPECT_EQ(allocated_by("/a.qed", kCluster), Names{"write L2"});
  EXPECT_EQ(allocated_by("/a.acow", 0), Names{"write bitmap"});
}

// ---- What a flush costs ----

TEST(DurabilityOrderTest, WithoutAllocationAFlushIsOneSyncOfTheData) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeQed(files);
  MakeAddCow(files);
  for (const std::string path : {"/a.qed", "/a.acow"}) {
    SCOPED_TRACE(path);
    const auto image = Must(OpenImage(files, path, Writable()));
    WriteDisk(*image, 0, PatternText(1, kCluster));
    Must(image->Flush());
    files.Clear();
    WriteDisk(*image, 8, PatternText(2, 16));
    Must(image->Flush());
    EXPECT_EQ(WritesAndSyncs(files), path == "/a.qed"
                                         ? (Names{"write data", "sync a.qed"})
                                         : (Names{"write data", "sync data"}));
  }
}

TEST(DurabilityOrderTest, ZeroesWrittenInPlaceAreSynced) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeQed(files);
  MakeAddCow(files);
  for (const std::string path : {"/a.qed", "/a.acow"}) {
    SCOPED_TRACE(path);
    const auto image = Must(OpenImage(files, path, Writable()));
    WriteDisk(*image, 0, PatternText(1, kCluster));
    Must(image->Flush());
    files.Clear();
    Must(image->WriteZeroes({8, 16}));
    Must(image->Flush());
    EXPECT_EQ(WritesAndSyncs(files),
              Names{path == "/a.qed" ? "sync a.qed" : "sync data"});
  }
}

TEST(DurabilityOrderTest, WithNothingWrittenAFlushIsFree) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeAddCow(files);
  const auto image = Must(OpenImage(files, "/a.acow", Writable()));
  // The first one syncs what a predecessor that died may have left.
  Must(image->Flush());
  files.Clear();
  Must(image->Flush());
  EXPECT_EQ(WritesAndSyncs(files), Names{});
}

TEST(DurabilityOrderTest, TheFirstFlushSyncsWhatAPredecessorLeft) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeQed(files);
  MakeAddCow(files);
  {
    const auto image = Must(OpenImage(files, "/a.acow", Writable()));
    files.Clear();
    Must(image->Flush());
    EXPECT_EQ(WritesAndSyncs(files), (Names{"sync data", "sync a.acow"}));
  }
  const auto image = Must(OpenImage(files, "/a.qed", Writable()));
  files.Clear();
  Must(image->Flush());
  EXPECT_EQ(WritesAndSyncs(files), Names{"sync a.qed"});
}

TEST(DurabilityOrderTest, ReadOnlyImagesSyncNothing) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeQed(files);
  files.Clear();
  {
    const auto image = Must(OpenImage(files, "/a.qed", {}));
    ReadDisk(*image);
    Must(image->Flush());
    EXPECT_FALSE(image->NeedsFlush());
  }
  EXPECT_TRUE(files.Operations().empty());
}

TEST(DurabilityOrderTest, NeedsFlushSpeaksOfMetadata) {
  MemoryFileSystem memory;
  MakeQed(memory);
  const auto image = Must(OpenImage(memory, "/a.qed", Writable()));
  EXPECT_FALSE(image->NeedsFlush());
  WriteDisk(*image, 0, PatternText(1, kCluster));
  EXPECT_TRUE(image->NeedsFlush());
  Must(image->Flush());
  EXPECT_FALSE(image->NeedsFlush());
  WriteDisk(*image, 0, PatternText(2, kCluster));
  EXPECT_FALSE(image->NeedsFlush());
}

// ---- Rounds ----

// Holds up the first sync of a file, from reached() until Release().
class HeldSync {
 public:
  HeldSync(RecordingFileSystem& files, std::string path) : files_(files) {
    files.SetHook([this, path = std::move(path)](const FileOperation& o) {
      if (o.kind != Kind::kSync || o.path != path) return;
      if (held_.exchange(true)) return;
      reached_.set_value();
      released_.get_future().wait();
    });
  }
  ~HeldSync() { files_.SetHook(nullptr); }

  void WaitUntilReached() { reached_.get_future().wait(); }
  void Release() { released_.set_value(); }

 private:
  RecordingFileSystem& files_;
  std::atomic<bool> held_{false};
  std::promise<void> reached_;
  std::promise<void> released_;
};

// The bytes of the first bitmap write recorded.
std::string FirstBitmapByte(const RecordingFileSystem& files) {
  for (const FileOperation& operation : files.Operations()) {
    if (operation.kind == Kind::kWrite && Name(operation) == "write bitmap") {
      return operation.data.substr(0, 1);
    }
  }
  return "none";
}

TEST(FlushRoundTest, ABitPublishedDuringARoundWaitsForTheNext) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeAddCow(files);
  const auto image = Must(OpenImage(files, "/a.acow", Writable()));
  WriteDisk(*image, 0, PatternText(1, kCluster));
  files.Clear();
  HeldSync held(files, "/data");
  std::thread flush([&] { Must(image->Flush()); });
  held.WaitUntilReached();
  // Its data may not be part of the sync that runs.
  WriteDisk(*image, kCluster, PatternText(2, kCluster));
  held.Release();
  flush.join();
  EXPECT_EQ(FirstBitmapByte(files), "\x01");
  EXPECT_TRUE(image->NeedsFlush());
  files.Clear();
  Must(image->Flush());
  EXPECT_EQ(FirstBitmapByte(files), "\x03");
  EXPECT_EQ(WritesAndSyncs(files),
            (Names{"sync data", "write bitmap", "sync a.acow"}));
}

TEST(FlushRoundTest, AnL2EntryPublishedDuringARoundWaitsForTheNext) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeQed(files);
  const auto image = Must(OpenImage(files, "/a.qed", Writable()));
  WriteDisk(*image, 0, PatternText(1, kCluster));
  files.Clear();
  HeldSync held(files, "/a.qed");
  std::thread flush([&] { Must(image->Flush()); });
  held.WaitUntilReached();
  WriteDisk(*image, kCluster, PatternText(2, kCluster));
  held.Release();
  flush.join();
  const std::string table = memory.Contents("/a.qed").substr(kFirstTable, 16);
  EXPECT_EQ(table, Little64(kFirstData) + Little64(0));
}

TEST(FlushRoundTest, AFlushThatComesLateIsNotServedByTheRoundThatRuns) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeAddCow(files);
  const auto image = Must(OpenImage(files, "/a.acow", Writable()));
  WriteDisk(*image, 0, PatternText(1, kCluster));
  files.Clear();
  HeldSync held(files, "/data");
  std::thread first([&] { Must(image->Flush()); });
  held.WaitUntilReached();
  WriteDisk(*image, kCluster, PatternText(2, kCluster));
  std::thread second([&] { Must(image->Flush()); });
  held.Release();
  second.join();
  // The second write is durable when the second flush returns.
  EXPECT_EQ(memory.Contents("/a.acow").substr(kCluster, 1), "\x03");
  first.join();
  EXPECT_EQ(WritesAndSyncs(files),
            (Names{"write data", "sync data", "write bitmap", "sync a.acow",
                   "sync data", "write bitmap", "sync a.acow"}));
}

TEST(FlushRoundTest, FlushesThatWaitShareOneRound) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  MakeAddCow(files);
  const auto image = Must(OpenImage(files, "/a.acow", Writable()));
  Must(image->Flush());
  WriteDisk(*image, 0, PatternText(1, kCluster));
  files.Clear();
  HeldSync held(files, "/data");
  std::thread first([&] { Must(image->Flush()); });
  held.WaitUntilReached();
  std::atomic<int> returned{0};
  std::vector<std::thread> late;
  for (uint64_t i = 1; i <= 8; ++i) {
    WriteDisk(*image, i * kCluster, PatternText(i, kCluster));
    late.emplace_back([&] {
      Must(image->Flush());
      ++returned;
    });
  }
  EXPECT_EQ(returned, 0);
  held.Release();
  first.join();
  for (std::thread& thread : late) thread.join();
  // Two rounds when all of the late ones joined in time; one more for threads
  // that began only when the second round was under way.
  EXPECT_GE(CountSyncs(files), 4u);
  EXPECT_LE(CountSyncs(files), 6u);
  EXPECT_EQ(memory.Contents("/a.acow").substr(kCluster, 2), "\xff\x01");
}

}  // namespace
}  // namespace flatcow
