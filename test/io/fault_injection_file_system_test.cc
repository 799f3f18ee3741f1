// SPDX-License-Identifier: Apache-2.0
#include "support/fault_injection_file_system.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "flatcow/status.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

class FaultInjectionFileSystemTest : public testing::Test {
 protected:
  FaultInjectionFileSystemTest() {
    memory_.SetContents("/a", "0123456789");
    memory_.SetContents("/b", "");
  }

  std::unique_ptr<File> Open(const std::string& path) {
    return *files_.Open(path, Access::kReadWrite);
  }

  static absl::Status Write(File& file, std::string bytes) {
    const iovec pieces[] = {{bytes.data(), 1},
                            {bytes.data() + 1, bytes.size() - 1}};
    return file.Write(0, pieces);
  }

  MemoryFileSystem memory_;
  FaultInjectionFileSystem files_{memory_};
};

TEST_F(FaultInjectionFileSystemTest, TheNthOperationFailsOnce) {
  const auto file = Open("/a");
  files_.Inject({.kinds = kWriteFault, .nth = 2, .error = ENOSPC});
  EXPECT_TRUE(Write(*file, "ab").ok());
  EXPECT_TRUE(file->Sync().ok());
  const absl::Status status = Write(*file, "cd");
  EXPECT_EQ(ErrnoOf(status), ENOSPC);
  EXPECT_EQ(status.message(), "/a: write (injected): No space left on device");
  EXPECT_EQ(memory_.Contents("/a"), "ab23456789");
  EXPECT_TRUE(Write(*file, "cd").ok());
  EXPECT_EQ(files_.Injected(), 1u);
}

TEST_F(FaultInjectionFileSystemTest, ForeverMeansUntilCleared) {
  const auto file = Open("/a");
  files_.Inject({.kinds = kSyncFault, .forever = true});
  EXPECT_EQ(ErrnoOf(file->Sync()), EIO);
  EXPECT_EQ(ErrnoOf(file->Sync()), EIO);
  files_.Clear();
  EXPECT_TRUE(file->Sync().ok());
}

TEST_F(FaultInjectionFileSystemTest, EveryKindCanFail) {
  const auto file = Open("/a");
  uint8_t byte = 0;
  const auto fails = [&](FaultKind kind, auto operation) {
    files_.Clear();
    files_.Inject({.kinds = kind, .error = EXDEV});
    EXPECT_EQ(ErrnoOf(operation()), EXDEV) << kind;
  };
  fails(kOpenFault, [&] { return files_.Create("/c").status(); });
  fails(kOpenFault,
        [&] { return files_.Open("/a", Access::kReadOnly).status(); });
  fails(kOpenFault, [&] { return file->Reopen(Access::kReadOnly).status(); });
  fails(kReadFault, [&] { return file->Read(0, {&byte, 1}).status(); });
  fails(kWriteFault, [&] { return Write(*file, "ab"); });
  fails(kSyncFault, [&] { return file->Sync(); });
  fails(kTruncateFault, [&] { return file->Truncate(1); });
  fails(kAllocateFault, [&] { return file->Allocate({0, 1}); });
  fails(kZeroFault, [&] { return file->Zero({0, 1}); });
  fails(kRemoveFault, [&] { return files_.Remove("/a"); });
  fails(kReplaceFault, [&] { return files_.Replace("/b", "/a"); });
  fails(kLockFault, [&] { return file->LockByte(1); });
  fails(kLockFault, [&] { return file->IsByteLocked(1).status(); });
  fails(kStatFault, [&] { return file->Stat().status(); });
  fails(kStatFault, [&] { return files_.Stat("/a").status(); });
  fails(kSeekFault, [&] { return file->SeekData(0).status(); });
  fails(kSeekFault, [&] { return file->SeekHole(0).status(); });
  EXPECT_EQ(memory_.Contents("/a"), "0123456789");
}

TEST_F(FaultInjectionFileSystemTest, OtherFilesAreSpared) {
  const auto a = Open("/a");
  const auto b = Open("/b");
  files_.Inject({.path = "/b", .forever = true});
  EXPECT_TRUE(Write(*a, "ab").ok());
  EXPECT_EQ(ErrnoOf(Write(*b, "ab")), EIO);
}

TEST_F(FaultInjectionFileSystemTest, PartialOperations) {
  const auto file = Open("/a");
  files_.Inject({.kinds = kReadFault, .partial = true});
  std::vector<uint8_t> buffer(8);
  EXPECT_EQ(*file->Read(0, absl::MakeSpan(buffer)), 4u);
  files_.Inject({.kinds = kWriteFault, .partial = true});
  // Half of 1600 bytes ends inside the second sector.
  EXPECT_EQ(ErrnoOf(Write(*file, std::string(1600, 'x'))), EIO);
  EXPECT_EQ(memory_.Contents("/a"), std::string(512, 'x'));
  files_.Inject({.kinds = kReadFault, .partial = true, .read_at_most = 1});
  EXPECT_EQ(*file->Read(0, absl::MakeSpan(buffer)), 1u);
}

TEST_F(FaultInjectionFileSystemTest, AReplaceFailsBeforeOrAfter) {
  memory_.SetContents("/b", "new");
  for (const bool partial : {false, true}) {
    files_.Clear();
    files_.Inject({.kinds = kReplaceFault, .partial = partial});
    EXPECT_EQ(ErrnoOf(files_.Replace("/b", "/a")), EIO);
    EXPECT_EQ(memory_.Contents("/a"), partial ? "new" : "0123456789");
    EXPECT_EQ(memory_.Exists("/b"), !partial);
  }
}

TEST_F(FaultInjectionFileSystemTest, ReopenedFilesFailToo) {
  const auto again = *Open("/a")->Reopen(Access::kReadWrite);
  files_.Inject({.kinds = kSyncFault});
  EXPECT_EQ(ErrnoOf(again->Sync()), EIO);
}

TEST_F(FaultInjectionFileSystemTest, CountsWithoutFaults) {
  const auto file = Open("/a");
  ASSERT_TRUE(Write(*file, "ab").ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(file->Stat().ok());
  EXPECT_EQ(files_.Count(), 3u);
  EXPECT_EQ(files_.Count(kWriteFault | kSyncFault), 2u);
  EXPECT_EQ(files_.Count(kStatFault), 1u);
  EXPECT_EQ(files_.Injected(), 0u);
}

}  // namespace
}  // namespace flatcow
