// SPDX-License-Identifier: Apache-2.0
#include "support/memory_file_system.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "flatcow/status.h"

namespace flatcow {
namespace {

constexpr uint64_t kPage = MemoryFileSystem::kPageBytes;

absl::Status Write(File& file, uint64_t offset, std::string bytes) {
  const iovec piece = {bytes.data(), bytes.size()};
  return file.Write(offset, {&piece, 1});
}

std::string Read(const File& file, uint64_t offset, size_t length) {
  std::vector<uint8_t> buffer(length, 0xAA);
  const auto n = file.Read(offset, absl::MakeSpan(buffer));
  EXPECT_TRUE(n.ok()) << n.status();
  return {buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(*n)};
}

TEST(MemoryFileSystemTest, ReadsWhatWasWritten) {
  MemoryFileSystem files;
  const auto file = *files.Create("/a");
  ASSERT_TRUE(Write(*file, kPage - 2, "abcd").ok());
  EXPECT_EQ(file->Stat()->size, kPage + 2);
  EXPECT_EQ(Read(*file, kPage - 3, 100), std::string("\0abcd", 5));
  EXPECT_EQ(Read(*file, kPage + 2, 1), "");
  EXPECT_EQ(Read(*file, 1 << 30, 1), "");
}

TEST(MemoryFileSystemTest, ContentsRoundTrip) {
  MemoryFileSystem files;
  std::string bytes(3 * kPage + 5, '\0');
  bytes[2 * kPage] = 'x';
  bytes.back() = 'y';
  files.SetContents("/a", bytes);
  EXPECT_EQ(files.Contents("/a"), bytes);
  EXPECT_EQ(files.Stat("/a")->allocated_bytes, 2 * kPage);
  files.SetContents("/a", "short");
  EXPECT_EQ(files.Contents("/a"), "short");
}

TEST(MemoryFileSystemTest, HolesAreReal) {
  MemoryFileSystem files;
  const auto file = *files.Create("/a");
  ASSERT_TRUE(file->Truncate(uint64_t{1} << 62).ok());
  EXPECT_EQ(*file->SeekData(0), uint64_t{1} << 62);
  EXPECT_EQ(*file->SeekHole(0), 0u);
  ASSERT_TRUE(Write(*file, 5 * kPage + 7, std::string(kPage, 'x')).ok());
  EXPECT_EQ(*file->SeekData(0), 5 * kPage);
  EXPECT_EQ(*file->SeekData(5 * kPage + 1), 5 * kPage + 1);
  EXPECT_EQ(*file->SeekHole(5 * kPage), 7 * kPage);
  EXPECT_EQ(file->Stat()->allocated_bytes, 2 * kPage);
}

TEST(MemoryFileSystemTest, SeeksStopAtTheEnd) {
  MemoryFileSystem files;
  files.SetContents("/a", "xyz");
  const auto file = *files.Open("/a", Access::kReadOnly);
  EXPECT_EQ(*file->SeekHole(0), 3u);
  EXPECT_EQ(*file->SeekHole(10), 3u);
  EXPECT_EQ(*file->SeekData(3), 3u);
  EXPECT_EQ(*file->SeekData(10), 3u);
}

TEST(MemoryFileSystemTest, ZeroDropsWholePages) {
  MemoryFileSystem files;
  files.SetContents("/a", std::string(4 * kPage + 10, 'x'));
  const auto file = *files.Open("/a", Access::kReadWrite);
  ASSERT_TRUE(file->Zero({10, 2 * kPage}).ok());
  EXPECT_EQ(file->Stat()->allocated_bytes, 4 * kPage);
  std::string expected(4 * kPage + 10, 'x');
  expected.replace(10, 2 * kPage, 2 * kPage, '\0');
  EXPECT_EQ(files.Contents("/a"), expected);
  ASSERT_TRUE(file->Zero({4 * kPage, 10}).ok());
  EXPECT_EQ(file->Stat()->allocated_bytes, 3 * kPage);
  EXPECT_EQ(file->Stat()->size, 4 * kPage + 10);
}

TEST(MemoryFileSystemTest, GrowingAgainShowsZeroes) {
  MemoryFileSystem files;
  files.SetContents("/a", "abcdef");
  const auto file = *files.Open("/a", Access::kReadWrite);
  ASSERT_TRUE(file->Truncate(2).ok());
  ASSERT_TRUE(file->Truncate(4).ok());
  EXPECT_EQ(files.Contents("/a"), std::string("ab\0\0", 4));
  ASSERT_TRUE(file->Allocate({0, 10}).ok());
  EXPECT_EQ(file->Stat()->size, 10u);
}

TEST(MemoryFileSystemTest, NamesAreNormalized) {
  MemoryFileSystem files;
  files.SetContents("/d/a", "x");
  EXPECT_EQ((*files.Open("/d/e/.././/a", Access::kReadOnly))->path(), "/d/a");
  EXPECT_EQ((*files.Open("d/a", Access::kReadOnly))->path(), "/d/a");
}

TEST(MemoryFileSystemTest, LinksNameTheSameFile) {
  MemoryFileSystem files;
  files.SetContents("/d/a", "x");
  files.Link("/d/a", "/b");
  files.Symlink("a", "/d/relative");
  files.Symlink("/d/relative", "/absolute");
  EXPECT_EQ(files.Stat("/b")->id, files.Stat("/d/a")->id);
  EXPECT_EQ((*files.Open("/absolute", Access::kReadOnly))->path(), "/d/a");
  ASSERT_TRUE(files.Remove("/d/a").ok());
  EXPECT_EQ(files.Contents("/b"), "x");
  EXPECT_EQ(ErrnoOf(files.Open("/absolute", Access::kReadOnly).status()),
            ENOENT);
  EXPECT_EQ(ErrnoOf(files.Create("/absolute").status()), EEXIST);
  files.Symlink("loop", "/loop");
  EXPECT_EQ(ErrnoOf(files.Stat("/loop").status()), ELOOP);
}

TEST(MemoryFileSystemTest, AFileTakesThePlaceOfAnother) {
  MemoryFileSystem files;
  files.SetContents("/a", "old");
  files.SetContents("/b", "new");
  files.SetReadOnly("/a");
  const auto old = *files.Open("/a", Access::kReadOnly);
  const auto id = (*files.Stat("/b")).id;
  ASSERT_TRUE(files.Replace("/b", "/./a").ok());
  EXPECT_EQ(files.Paths(), std::vector<std::string>{"/a"});
  EXPECT_EQ(files.Contents("/a"), "new");
  EXPECT_EQ((*files.Stat("/a")).id, id);
  EXPECT_FALSE(files.Open("/a", Access::kReadWrite).ok());
  EXPECT_EQ((*old->Stat()).size, 3u);
  EXPECT_EQ(ErrnoOf(files.Replace("/missing", "/a")), ENOENT);
  EXPECT_EQ(ErrnoOf(files.Replace("/a", "/missing")), ENOENT);
  EXPECT_EQ(files.Contents("/a"), "new");
}

TEST(MemoryFileSystemTest, AccessIsChecked) {
  MemoryFileSystem files;
  files.SetContents("/a", "x");
  const auto file = *files.Open("/a", Access::kReadOnly);
  EXPECT_EQ(ErrnoOf(Write(*file, 0, "y")), EBADF);
  files.SetReadOnly("/a");
  EXPECT_EQ(ErrnoOf(files.Open("/a", Access::kReadWrite).status()), EACCES);
  EXPECT_EQ(ErrnoOf(file->Reopen(Access::kReadWrite).status()), EACCES);
  EXPECT_TRUE(file->Reopen(Access::kReadOnly).ok());
  files.SetReadOnly("/a", false);
  EXPECT_TRUE(Write(**file->Reopen(Access::kReadWrite), 0, "y").ok());
  files.SetMode("/a", S_IFIFO | 0644);
  EXPECT_EQ(ErrnoOf(files.Open("/a", Access::kReadOnly).status()), EACCES);
}

TEST(MemoryFileSystemTest, LocksBelongToTheOpenFile) {
  MemoryFileSystem files;
  auto a = *files.Create("/a");
  const auto b = *a->Reopen(Access::kReadOnly);
  ASSERT_TRUE(a->LockByte(100).ok());
  EXPECT_FALSE(*a->IsByteLocked(100));
  EXPECT_TRUE(*b->IsByteLocked(100));
  a.reset();
  EXPECT_FALSE(*b->IsByteLocked(100));
}

TEST(MemoryFileSystemTest, ASnapshotIsApart) {
  MemoryFileSystem files;
  files.SetContents("/a", "before");
  files.Link("/a", "/b");
  const auto copy = files.Snapshot();
  files.SetContents("/a", "after");
  EXPECT_EQ(copy->Contents("/a"), "before");
  EXPECT_EQ(copy->Stat("/a")->id, copy->Stat("/b")->id);
  EXPECT_EQ(copy->Paths(), (std::vector<std::string>{"/a", "/b"}));
}

TEST(MemoryFileSystemTest, PagesOfASnapshotAreCopiedBeforeTheyChange) {
  MemoryFileSystem files;
  const auto file = *files.Create("/a");
  ASSERT_TRUE(Write(*file, 0, "before").ok());
  const auto copy = files.Snapshot();
  const auto again = copy->Snapshot();
  EXPECT_EQ(copy->Fingerprint(), files.Fingerprint());
  ASSERT_TRUE(Write(**copy->Open("/a", Access::kReadWrite), 0, "B").ok());
  ASSERT_TRUE(file->Zero({0, 2}).ok());
  EXPECT_EQ(files.Contents("/a"), std::string("\0\0fore", 6));
  EXPECT_EQ(copy->Contents("/a"), "Before");
  EXPECT_EQ(again->Contents("/a"), "before");
  EXPECT_NE(copy->Fingerprint(), again->Fingerprint());
}

TEST(MemoryFileSystemTest, ChangesMoveTheClock) {
  MemoryFileSystem files;
  const auto file = *files.Create("/a");
  const int64_t before = file->Stat()->mtime_ns;
  ASSERT_TRUE(Write(*file, 0, "x").ok());
  EXPECT_GT(file->Stat()->mtime_ns, before);
}

TEST(MemoryFileSystemTest, OffsetsBeyondOffTFail) {
  MemoryFileSystem files;
  const auto file = *files.Create("/a");
  EXPECT_EQ(ErrnoOf(Write(*file, UINT64_MAX, "ab")), EFBIG);
  EXPECT_EQ(ErrnoOf(file->Truncate(uint64_t{1} << 63)), EFBIG);
}

TEST(MemoryFileSystemTest, ThreadsMayShareAFile) {
  MemoryFileSystem files;
  const auto file = *files.Create("/a");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 100; ++round) {
        const uint64_t offset = static_cast<uint64_t>(i * 100 + round) * 1000;
        EXPECT_TRUE(
            Write(*file, offset, std::string(1000, static_cast<char>('a' + i)))
                .ok());
        EXPECT_EQ(Read(*file, offset, 1000).size(), 1000u);
        EXPECT_TRUE(files.Open("/a", Access::kReadOnly).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string contents = files.Contents("/a");
  ASSERT_EQ(contents.size(), 400'000u);
  EXPECT_EQ(contents[250'000], 'c');
}

}  // namespace
}  // namespace flatcow
