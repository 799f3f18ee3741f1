// SPDX-License-Identifier: Apache-2.0
#include "support/recording_file_system.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "flatcow/status.h"
#include "support/fault_injection_file_system.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

using Kind = FileOperation::Kind;

absl::Status Write(File& file, uint64_t offset, std::string bytes) {
  const iovec piece = {bytes.data(), bytes.size()};
  return file.Write(offset, {&piece, 1});
}

TEST(RecordingFileSystemTest, RecordsChangesInOrder) {
  MemoryFileSystem memory;
  RecordingFileSystem files(memory);
  const auto file = *files.Create("/a");
  ASSERT_TRUE(Write(*file, 5, "abc").ok());
  ASSERT_TRUE(file->Truncate(4096).ok());
  ASSERT_TRUE(file->Allocate({0, 8192}).ok());
  ASSERT_TRUE(file->Zero({1, 2}).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(file->Stat().ok());
  ASSERT_TRUE(files.Remove("/a").ok());
  EXPECT_EQ(files.Operations(), (std::vector<FileOperation>{
                                    {.kind = Kind::kCreate, .path = "/a"},
                                    {Kind::kWrite, "/a", 5, 3, "abc", 0},
                                    {Kind::kTruncate, "/a", 0, 4096, "", 0},
                                    {Kind::kAllocate, "/a", 0, 8192, "", 0},
                                    {Kind::kZero, "/a", 1, 2, "", 0},
                                    {.kind = Kind::kSync, .path = "/a"},
                                    {.kind = Kind::kRemove, .path = "/a"},
                                }));
  files.Clear();
  EXPECT_TRUE(files.Operations().empty());
}

// A power cut may come between the two.
TEST(RecordingFileSystemTest, AReplaceIsAStepAndASync) {
  MemoryFileSystem memory;
  memory.SetContents("/a", "old");
  memory.SetContents("/b", "new");
  RecordingFileSystem files(memory);
  ASSERT_TRUE(files.Replace("/b", "/a").ok());
  EXPECT_EQ(files.Operations(), (std::vector<FileOperation>{
                                    {Kind::kReplace, "/a", 0, 0, "/b", 0},
                                    {.kind = Kind::kSync, .path = "/a"},
                                }));
  EXPECT_EQ(memory.Contents("/a"), "new");
}

TEST(RecordingFileSystemTest, ReopenedFilesAreRecorded) {
  MemoryFileSystem memory;
  memory.SetContents("/a", "");
  RecordingFileSystem files(memory);
  const auto file = *files.Open("/a", Access::kReadOnly);
  const auto writer = *file->Reopen(Access::kReadWrite);
  ASSERT_TRUE(Write(*writer, 0, "x").ok());
  EXPECT_EQ(files.Operations().size(), 1u);
  EXPECT_EQ(memory.Contents("/a"), "x");
}

TEST(RecordingFileSystemTest, FailuresAreRecordedAsSuch) {
  MemoryFileSystem memory;
  memory.SetContents("/a", "");
  FaultInjectionFileSystem faults(memory);
  RecordingFileSystem files(faults);
  const auto file = *files.Open("/a", Access::kReadWrite);
  faults.Inject({.kinds = kSyncFault, .error = EDQUOT});
  EXPECT_EQ(ErrnoOf(file->Sync()), EDQUOT);
  EXPECT_EQ(files.Operations().back().error, EDQUOT);
}

TEST(RecordingFileSystemTest, TheHookCanHoldASyncUp) {
  MemoryFileSystem memory;
  memory.SetContents("/a", "");
  RecordingFileSystem files(memory);
  const auto file = *files.Open("/a", Access::kReadWrite);
  std::atomic<bool> sync_held{false};
  std::atomic<bool> release{false};
  files.SetHook([&](const FileOperation& operation) {
    if (operation.kind != Kind::kSync) return;
    sync_held = true;
    sync_held.notify_all();
    release.wait(false);
  });
  std::thread syncing([&] { EXPECT_TRUE(file->Sync().ok()); });
  sync_held.wait(false);
  EXPECT_TRUE(Write(*file, 0, "x").ok());
  release = true;
  release.notify_all();
  syncing.join();
  const std::vector<FileOperation> operations = files.Operations();
  ASSERT_EQ(operations.size(), 2u);
  // The hook runs before the sync begins, so the write came first.
  EXPECT_EQ(operations[0].kind, Kind::kWrite);
  EXPECT_EQ(operations[1].kind, Kind::kSync);
}

}  // namespace
}  // namespace flatcow
