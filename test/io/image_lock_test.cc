// SPDX-License-Identifier: Apache-2.0
#include "io/image_lock.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "flatcow/status.h"
#include "io/unique_fd.h"
#include "support/fault_injection_file_system.h"
#include "support/memory_file_system.h"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

constexpr LockRole kRoles[] = {LockRole::kNone, LockRole::kImageReadOnly,
                               LockRole::kImageReadWrite, LockRole::kShared,
                               LockRole::kBacking};

class ImageLockTest : public testing::Test {
 protected:
  ImageLockTest() { std::ofstream file(name_); }

  std::unique_ptr<File> Open(Access access = Access::kReadOnly) {
    return *PosixFileSystem().Open(name_, access);
  }

  // "name (pid 1234)"
  static std::string Process(pid_t pid) {
    std::ifstream comm(absl::StrCat("/proc/", pid, "/comm"));
    std::string name;
    std::getline(comm, name);
    return absl::StrCat(name, " (pid ", pid, ")");
  }

  TemporaryDirectory directory_;
  const std::string name_ = directory_ / "image";
};

TEST_F(ImageLockTest, EveryPairOfRoles) {
  // By the role that is there first, then the one that comes: is it admitted?
  constexpr bool kAdmitted[5][5] = {
      // none, read-only, read-write, shared, backing
      {true, true, true, true, true},     // none
      {true, true, false, true, true},    // read-only
      {true, false, false, true, false},  // read-write
      {true, true, true, true, true},     // shared
      {true, true, false, true, true},    // backing
  };
  for (size_t i = 0; i < 5; ++i) {
    for (size_t j = 0; j < 5; ++j) {
      const auto first_file = Open();
      const auto second_file = Open();
      ImageLock first(*first_file);
      ImageLock second(*second_file);
      ASSERT_TRUE(first.Take(kRoles[i]).ok());
      const absl::Status status = second.Take(kRoles[j]);
      EXPECT_EQ(status.ok(), kAdmitted[i][j]) << i << " " << j << " " << status;
      EXPECT_EQ(ErrnoOf(status), kAdmitted[i][j] ? 0 : EBUSY);
      EXPECT_EQ(second.role(), kAdmitted[i][j] ? kRoles[j] : LockRole::kNone);
    }
  }
}

TEST_F(ImageLockTest, TakesTheBytesOfItsRole) {
  const auto file = Open();
  const auto other = Open();
  ImageLock lock(*file);
  const auto held = [&] {
    std::string bytes;
    for (uint64_t byte = 0; byte < 300; ++byte) {
      if (*other->IsByteLocked(byte)) absl::StrAppend(&bytes, byte, " ");
    }
    return bytes;
  };
  const std::string expected[] = {"", "100 201 203 ", "100 101 103 201 203 ",
                                  "100 ", "100 201 203 "};
  // From every role to every other.
  for (size_t i = 0; i < 5; ++i) {
    for (size_t j = 0; j < 5; ++j) {
      ASSERT_TRUE(lock.Take(kRoles[i]).ok());
      EXPECT_EQ(held(), expected[i]);
      ASSERT_TRUE(lock.Take(kRoles[j]).ok());
      EXPECT_EQ(held(), expected[j]);
    }
  }
}

TEST_F(ImageLockTest, GoesWithTheObject) {
  const auto file = Open();
  const auto other = Open();
  {
    ImageLock lock(*file);
    ASSERT_TRUE(lock.Take(LockRole::kImageReadWrite).ok());
  }
  ImageLock lock(*other);
  EXPECT_TRUE(lock.Take(LockRole::kImageReadWrite).ok());
}

TEST_F(ImageLockTest, UpgradesInPlace) {
  const auto file = Open(Access::kReadWrite);
  ImageLock lock(*file);
  ASSERT_TRUE(lock.Take(LockRole::kImageReadOnly).ok());
  ASSERT_TRUE(lock.Take(LockRole::kImageReadWrite).ok());
  const auto other = Open();
  ImageLock second(*other);
  EXPECT_EQ(ErrnoOf(second.Take(LockRole::kImageReadOnly)), EBUSY);
  ASSERT_TRUE(lock.Take(LockRole::kImageReadOnly).ok());
  EXPECT_TRUE(second.Take(LockRole::kImageReadOnly).ok());
}

TEST_F(ImageLockTest, ARefusedUpgradeKeepsWhatWasHeld) {
  const auto reader_file = Open(Access::kReadWrite);
  const auto backing_file = Open();
  const auto third_file = Open();
  ImageLock reader(*reader_file);
  ImageLock backing(*backing_file);
  ImageLock third(*third_file);
  ASSERT_TRUE(reader.Take(LockRole::kImageReadOnly).ok());
  ASSERT_TRUE(backing.Take(LockRole::kBacking).ok());
  EXPECT_EQ(ErrnoOf(reader.Take(LockRole::kImageReadWrite)), EBUSY);
  EXPECT_EQ(reader.role(), LockRole::kImageReadOnly);
  // No trace of the writer, and the reader is there still.
  EXPECT_TRUE(third.Take(LockRole::kImageReadOnly).ok());
  ASSERT_TRUE(third.Take(LockRole::kNone).ok());
  ASSERT_TRUE(backing.Take(LockRole::kNone).ok());
  EXPECT_EQ(ErrnoOf(third.Take(LockRole::kImageReadWrite)), EBUSY);
}

TEST_F(ImageLockTest, TheMessageNamesTheHolder) {
  int ready[2];
  int done[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(done), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    close(ready[0]);
    close(done[1]);
    const auto file = Open();
    ImageLock lock(*file);
    const char result = lock.Take(LockRole::kImageReadWrite).ok() ? 'y' : 'n';
    char ignored = 0;
    // The parent closes its end when it has seen enough.
    const bool ok =
        write(ready[1], &result, 1) == 1 && read(done[0], &ignored, 1) == 0;
    _exit(ok ? 0 : 1);
  }
  close(ready[1]);
  close(done[0]);
  const UniqueFd ready_end(ready[0]);
  UniqueFd done_end(done[1]);
  char result = 0;
  ASSERT_EQ(read(ready_end.get(), &result, 1), 1);
  ASSERT_EQ(result, 'y');

  const auto file = Open();
  ImageLock lock(*file);
  EXPECT_EQ(lock.Take(LockRole::kBacking).message(),
            absl::StrCat(name_, ": locked: another process writes to it (",
                         Process(child), "); close it there first"));
  EXPECT_EQ(LockHolders(file->Stat()->id, nullptr), Process(child));

  done_end = UniqueFd();
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(lock.Take(LockRole::kBacking).ok());
}

TEST_F(ImageLockTest, HoldersLeaveOneselfOut) {
  const auto file = Open();
  const auto other = Open();
  const FileId id = file->Stat()->id;
  EXPECT_EQ(LockHolders(id, nullptr), "");
  ImageLock lock(*file);
  ASSERT_TRUE(lock.Take(LockRole::kBacking).ok());
  EXPECT_EQ(LockHolders(id, file.get()), "");
  EXPECT_EQ(LockHolders(id, other.get()), Process(getpid()));
  EXPECT_EQ(LockHolders({id.device, id.inode + 1}, nullptr), "");
}

TEST_F(ImageLockTest, AReaderIsCalledAReader) {
  const auto file = Open();
  const auto other = Open();
  ImageLock reader(*file);
  ASSERT_TRUE(reader.Take(LockRole::kBacking).ok());
  ImageLock writer(*other);
  EXPECT_TRUE(absl::StrContains(
      writer.Take(LockRole::kImageReadWrite).message(),
      "locked: another process has it open and does not let others write"));
}

TEST(ImageLockWithoutLocksTest, NamesTheWayOut) {
  MemoryFileSystem memory;
  memory.SetContents("/a", "");
  FaultInjectionFileSystem files(memory);
  for (const int error : {ENOLCK, EOPNOTSUPP, EINVAL}) {
    for (uint64_t nth = 1; nth <= 10; ++nth) {
      const auto file = *files.Open("/a", Access::kReadWrite);
      ImageLock lock(*file);
      files.Inject({.kinds = kLockFault, .nth = nth, .error = error});
      const absl::Status status = lock.Take(LockRole::kImageReadWrite);
      EXPECT_EQ(ErrnoOf(status), ENOLCK);
      EXPECT_TRUE(absl::StrContains(status.message(), "lock=off")) << status;
      // All that was taken before is given up.
      const auto other = *memory.Open("/a", Access::kReadWrite);
      for (uint64_t byte = 100; byte < 204; ++byte) {
        EXPECT_FALSE(*other->IsByteLocked(byte));
      }
      files.Clear();
    }
  }
}

TEST(ImageLockWithoutLocksTest, RoleNoneAsksNothing) {
  MemoryFileSystem memory;
  memory.SetContents("/a", "");
  FaultInjectionFileSystem files(memory);
  files.Inject({.kinds = kLockFault, .error = ENOLCK, .forever = true});
  const auto file = *files.Open("/a", Access::kReadWrite);
  ImageLock lock(*file);
  EXPECT_TRUE(lock.Take(LockRole::kNone).ok());
}

TEST(ImageLockWithoutLocksTest, AnInvisibleHolder) {
  MemoryFileSystem memory;
  memory.SetContents("/a", "");
  const auto file = *memory.Open("/a", Access::kReadWrite);
  const auto other = *memory.Open("/a", Access::kReadWrite);
  ImageLock first(*file);
  ImageLock second(*other);
  ASSERT_TRUE(first.Take(LockRole::kImageReadWrite).ok());
  EXPECT_EQ(second.Take(LockRole::kImageReadWrite).message(),
            "/a: locked: another process writes to it (holder not visible); "
            "close it there first");
}

}  // namespace
}  // namespace flatcow
