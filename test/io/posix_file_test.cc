// SPDX-License-Identifier: Apache-2.0
#include "io/posix_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/file.h"
#include "flatcow/status.h"
#include "support/scoped_mount.h"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

constexpr uint64_t kTooFar = uint64_t{1} << 63;

class PosixFileTest : public testing::Test {
 protected:
  std::unique_ptr<File> Make(const std::string& contents) {
    std::ofstream(name_, std::ios::binary) << contents;
    return Open(Access::kReadWrite);
  }

  std::unique_ptr<File> Open(Access access) {
    auto file = PosixFileSystem().Open(name_, access);
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? *std::move(file) : nullptr;
  }

  std::string Contents() const {
    std::ifstream in(name_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  static absl::Status Write(File& file, uint64_t offset, std::string bytes) {
    const iovec piece = {bytes.data(), bytes.size()};
    return file.Write(offset, {&piece, 1});
  }

  TemporaryDirectory directory_;
  const std::string name_ = directory_ / "file";
};

TEST_F(PosixFileTest, ReadStopsAtTheEnd) {
  const auto file = Make("0123456789");
  std::vector<uint8_t> buffer(8);
  EXPECT_EQ(*file->Read(0, absl::MakeSpan(buffer)), 8u);
  EXPECT_EQ(*file->Read(6, absl::MakeSpan(buffer)), 4u);
  EXPECT_EQ(buffer[3], '9');
  EXPECT_EQ(*file->Read(10, absl::MakeSpan(buffer)), 0u);
  EXPECT_EQ(*file->Read(1 << 20, absl::MakeSpan(buffer)), 0u);
  EXPECT_EQ(*file->Read(0, {}), 0u);
}

TEST_F(PosixFileTest, WriteExtendsTheFile) {
  const auto file = Make("");
  ASSERT_TRUE(Write(*file, 3, "abc").ok());
  EXPECT_EQ(Contents(), std::string("\0\0\0abc", 6));
}

TEST_F(PosixFileTest, WriteOfNothingIsFine) {
  const auto file = Make("x");
  EXPECT_TRUE(file->Write(5, {}).ok());
  EXPECT_TRUE(Write(*file, 5, "").ok());
  EXPECT_EQ(Contents(), "x");
}

TEST_F(PosixFileTest, WriteTakesMorePiecesThanOneSystemCall) {
  const auto file = Make("");
  std::string bytes;
  for (int i = 0; i < 3 * IOV_MAX + 7; ++i) {
    bytes.push_back(static_cast<char>('a' + i % 23));
  }
  std::vector<iovec> pieces;
  for (char& byte : bytes) {
    pieces.push_back({&byte, 1});
    if (pieces.size() % 5 == 0) pieces.push_back({nullptr, 0});
  }
  ASSERT_TRUE(file->Write(0, pieces).ok());
  EXPECT_EQ(Contents(), bytes);
}

// A file size limit makes the kernel write the part that fits: the rest is
// tried again, from the middle of a piece, and then fails.
TEST_F(PosixFileTest, ShortWriteIsResumed) {
  const auto file = Make("");
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit = before;
  limit.rlim_cur = 10;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::string a = "aaaa";
  std::string b = "bbbbbbbb";
  const iovec pieces[] = {{a.data(), a.size()}, {b.data(), b.size()}};
  const absl::Status status = file->Write(0, pieces);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(ErrnoOf(status), EFBIG);
  EXPECT_EQ(status.message(),
            absl::StrCat(name_, ": write at 10, 2 bytes: File too large"));
  EXPECT_EQ(Contents(), "aaaabbbbbb");
}

TEST_F(PosixFileTest, OffsetsBeyondOffTFail) {
  const auto file = Make("x");
  uint8_t byte = 0;
  EXPECT_EQ(ErrnoOf(file->Read(kTooFar, {&byte, 1}).status()), EFBIG);
  EXPECT_EQ(ErrnoOf(file->Read(kTooFar - 2, {&byte, 1}).status()), 0);
  EXPECT_EQ(ErrnoOf(file->Read(UINT64_MAX, {&byte, 1}).status()), EFBIG);
  EXPECT_EQ(ErrnoOf(Write(*file, kTooFar - 1, "ab")), EFBIG);
  EXPECT_EQ(ErrnoOf(Write(*file, UINT64_MAX, "ab")), EFBIG);
  EXPECT_EQ(ErrnoOf(file->Truncate(kTooFar)), EFBIG);
  EXPECT_EQ(ErrnoOf(file->Allocate({UINT64_MAX, 2})), EFBIG);
  EXPECT_EQ(ErrnoOf(file->Zero({1, UINT64_MAX})), EFBIG);
  EXPECT_EQ(ErrnoOf(file->SeekData(kTooFar).status()), EFBIG);
  EXPECT_EQ(ErrnoOf(file->SeekHole(kTooFar).status()), EFBIG);
  EXPECT_EQ(ErrnoOf(file->LockByte(kTooFar)), EFBIG);
  EXPECT_EQ(ErrnoOf(file->IsByteLocked(kTooFar).status()), EFBIG);
  const iovec huge[] = {{nullptr, SIZE_MAX}, {nullptr, SIZE_MAX}};
  EXPECT_EQ(ErrnoOf(file->Write(0, huge)), EFBIG);
}

TEST_F(PosixFileTest, CopiesFromAnotherFileAsFarAsTheHostCan) {
  std::string content;
  for (int i = 0; i < 100'000; ++i) absl::StrAppend(&content, i, " ");
  const auto source = Make(content);
  const std::string copy_name = directory_ / "copy";
  std::ofstream(copy_name, std::ios::binary) << "before";
  const auto copy = *PosixFileSystem().Open(copy_name, Access::kReadWrite);
  const auto copied = [&] {
    std::ifstream in(copy_name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const uint64_t done =
      *copy->CopyFrom(*source, 1000, {6, 200'000}, HostCopy::kAny);
  EXPECT_LE(done, 200'000u);
  EXPECT_EQ(copied(), "before" + content.substr(1000, done));
  // The source ends sooner.
  EXPECT_LE(
      *copy->CopyFrom(*source, content.size() - 100, {6, 5000}, HostCopy::kAny),
      100u);
  // Blocks can't be shared at odd places.
  EXPECT_EQ(*copy->CopyFrom(*source, 1, {0, 4096}, HostCopy::kShareBlocks), 0u);
  EXPECT_EQ(*copy->CopyFrom(*source, 0, {0, 0}, HostCopy::kShareBlocks), 0u);
  EXPECT_EQ(copied().substr(0, 6), "before");
  EXPECT_EQ(
      ErrnoOf(
          copy->CopyFrom(*source, 0, {kTooFar, 1}, HostCopy::kAny).status()),
      EFBIG);
}

TEST_F(PosixFileTest, ErrorsNameFileOperationAndRange) {
  Make("x");
  const auto file = Open(Access::kReadOnly);
  const absl::Status status = Write(*file, 4096, "abc");
  EXPECT_EQ(ErrnoOf(status), EBADF);
  EXPECT_EQ(
      status.message(),
      absl::StrCat(name_, ": write at 4096, 3 bytes: Bad file descriptor"));
}

TEST_F(PosixFileTest, TruncateBothWays) {
  const auto file = Make("abcdef");
  ASSERT_TRUE(file->Truncate(2).ok());
  ASSERT_TRUE(file->Truncate(4).ok());
  EXPECT_EQ(Contents(), std::string("ab\0\0", 4));
  EXPECT_TRUE(file->Sync().ok());
}

TEST_F(PosixFileTest, AllocateKeepsBytesAndExtends) {
  const auto file = Make("abc");
  EXPECT_TRUE(file->Allocate({0, 0}).ok());
  ASSERT_TRUE(file->Allocate({0, 8192}).ok());
  const FileStat stat = *file->Stat();
  if (stat.size == 3) GTEST_SKIP() << "no fallocate under " << name_;
  EXPECT_EQ(stat.size, 8192u);
  EXPECT_GE(stat.allocated_bytes, 8192u);
  EXPECT_EQ(Contents().substr(0, 4), std::string("abc\0", 4));
}

TEST_F(PosixFileTest, ZeroIsExactAndKeepsTheLength) {
  const auto file = Make(std::string(100'000, 'x'));
  ASSERT_TRUE(file->Zero({10, 70'001}).ok());
  ASSERT_TRUE(file->Zero({99'999, 1}).ok());
  EXPECT_TRUE(file->Zero({5, 0}).ok());
  std::string expected(100'000, 'x');
  std::fill_n(expected.begin() + 10, 70'001, '\0');
  expected.back() = '\0';
  EXPECT_EQ(Contents(), expected);
}

TEST_F(PosixFileTest, ZeroFreesSpace) {
  const auto file = Make(std::string(1 << 20, 'x'));
  ASSERT_TRUE(file->Sync().ok());
  const uint64_t before = file->Stat()->allocated_bytes;
  ASSERT_TRUE(file->Zero({0, 1 << 20}).ok());
  EXPECT_LT(file->Stat()->allocated_bytes, before);
}

TEST_F(PosixFileTest, SeeksFindHoles) {
  const auto file = Make("");
  ASSERT_TRUE(file->Truncate(4 << 20).ok());
  ASSERT_TRUE(Write(*file, 1 << 20, std::string(1 << 20, 'x')).ok());
  if (*file->SeekHole(0) == 4 << 20) {
    GTEST_SKIP() << "no holes under " << name_;
  }
  EXPECT_EQ(*file->SeekHole(0), 0u);
  EXPECT_EQ(*file->SeekData(0), 1u << 20);
  EXPECT_EQ(*file->SeekData((1 << 20) + 5), (1u << 20) + 5);
  EXPECT_EQ(*file->SeekHole(1 << 20), 2u << 20);
  EXPECT_EQ(*file->SeekData(2 << 20), 4u << 20);
  EXPECT_EQ(*file->SeekData(4 << 20), 4u << 20);
  EXPECT_EQ(*file->SeekHole(5 << 20), 4u << 20);
}

// ramfs knows neither fallocate nor holes.
TEST_F(PosixFileTest, FileSystemWithoutHoles) {
  const ScopedMount mount("ramfs", directory_.path());
  if (!mount.mounted()) GTEST_SKIP() << mount.why_not();
  const auto file = Make(std::string(3 << 20, 'x'));
  EXPECT_TRUE(file->Allocate({0, 4 << 20}).ok());
  ASSERT_TRUE(file->Zero({5, (2 << 20) + 3}).ok());
  std::string expected(3 << 20, 'x');
  std::fill_n(expected.begin() + 5, (2 << 20) + 3, '\0');
  EXPECT_TRUE(Contents() == expected);
  EXPECT_TRUE(file->Zero({(3 << 20) - 1, 100}).ok());
  EXPECT_EQ(file->Stat()->size, 3u << 20);
  EXPECT_EQ(*file->SeekData(10), 10u);
  EXPECT_EQ(*file->SeekHole(10), 3u << 20);
  EXPECT_EQ(*file->SeekData(4 << 20), 3u << 20);
  EXPECT_EQ(*file->SeekHole(4 << 20), 3u << 20);
}

// Attaches a file to a loop device for the length of a test.
class LoopDevice {
 public:
  explicit LoopDevice(const std::string& backing) {
    const UniqueFd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return;
    const std::string name = absl::StrCat("/dev/loop", number);
    UniqueFd device(open(name.c_str(), O_RDWR | O_CLOEXEC));
    const UniqueFd file(open(backing.c_str(), O_RDWR | O_CLOEXEC));
    if (ioctl(device.get(), LOOP_SET_FD, file.get()) != 0) return;
    device_ = std::move(device);
    name_ = name;
  }
  ~LoopDevice() {
    if (device_.valid()) ioctl(device_.get(), LOOP_CLR_FD, 0);
  }
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;

  // Empty when there is none.
  const std::string& name() const { return name_; }

 private:
  UniqueFd device_;
  std::string name_;
};

TEST_F(PosixFileTest, BlockDevice) {
  Make(std::string(1 << 20, 'x'));
  const LoopDevice device(name_);
  if (device.name().empty()) GTEST_SKIP() << "no loop device to be had";
  auto opened = PosixFileSystem().Open(device.name(), Access::kReadWrite);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const std::unique_ptr<File> file = *std::move(opened);
  EXPECT_EQ(file->Stat()->size, 1u << 20);
  EXPECT_EQ(PosixFileSystem().Stat(device.name())->size, 1u << 20);
  EXPECT_TRUE(S_ISBLK(file->Stat()->mode));
  EXPECT_EQ(*file->SeekData(100), 100u);
  EXPECT_EQ(*file->SeekHole(100), 1u << 20);
  EXPECT_EQ(*file->SeekData(2 << 20), 1u << 20);
  EXPECT_TRUE(file->Allocate({0, 4096}).ok());

  // Whole sectors, and a range that is none.
  ASSERT_TRUE(file->Zero({4096, 8192}).ok());
  ASSERT_TRUE(file->Zero({100'000, 333}).ok());
  std::vector<uint8_t> bytes(1 << 20);
  ASSERT_EQ(*file->Read(0, absl::MakeSpan(bytes)), bytes.size());
  std::string expected(1 << 20, 'x');
  std::fill_n(expected.begin() + 4096, 8192, '\0');
  std::fill_n(expected.begin() + 100'000, 333, '\0');
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), expected.begin()));

  EXPECT_EQ(*file->Read((1 << 20) - 3, {bytes.data(), 10}), 3u);
  EXPECT_EQ(ErrnoOf(Write(*file, (1 << 20) - 2, "abcd")), ENOSPC);
  EXPECT_TRUE((*file->Reopen(Access::kReadOnly))->Stat()->size == 1u << 20);
}

TEST_F(PosixFileTest, ReopenFindsTheFileUnderAnyName) {
  const auto file = Make("abc");
  std::filesystem::rename(name_, directory_ / "other");
  const auto again = file->Reopen(Access::kReadOnly);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->Stat()->id, file->Stat()->id);
  EXPECT_EQ((*again)->path(), file->path());
  EXPECT_EQ(ErrnoOf(Write(**again, 0, "x")), EBADF);
  EXPECT_TRUE((*again)->Reopen(Access::kReadWrite).ok());
}

TEST_F(PosixFileTest, LocksBelongToTheOpenFile) {
  const auto a = Make("");
  const auto b = Open(Access::kReadOnly);
  ASSERT_TRUE(a->LockByte(100).ok());
  EXPECT_FALSE(*a->IsByteLocked(100));
  EXPECT_TRUE(*b->IsByteLocked(100));
  EXPECT_FALSE(*b->IsByteLocked(101));
  ASSERT_TRUE(b->LockByte(100).ok());
  EXPECT_TRUE(*a->IsByteLocked(100));
  ASSERT_TRUE(a->UnlockByte(100).ok());
  EXPECT_FALSE(*b->IsByteLocked(100));
}

TEST_F(PosixFileTest, StatAgreesWithTheKernel) {
  const auto file = Make("abc");
  struct stat expected;
  ASSERT_EQ(stat(name_.c_str(), &expected), 0);
  const FileStat found = *file->Stat();
  EXPECT_EQ(found.id, (FileId{expected.st_dev, expected.st_ino}));
  EXPECT_EQ(found.mode, expected.st_mode);
  EXPECT_EQ(found.size, 3u);
  EXPECT_EQ(found.mtime_ns,
            expected.st_mtim.tv_sec * 1'000'000'000 + expected.st_mtim.tv_nsec);
  EXPECT_EQ(PosixFileSystem().Stat(name_)->id, found.id);
}

TEST_F(PosixFileTest, PathIsResolved) {
  Make("abc");
  std::filesystem::create_symlink("file", directory_ / "link");
  const auto file =
      PosixFileSystem().Open(directory_ / "link", Access::kReadOnly);
  EXPECT_EQ((*file)->path(), name_);
}

TEST_F(PosixFileTest, OtherTypesAreNotOpened) {
  ASSERT_EQ(mkfifo((directory_ / "fifo").c_str(), 0600), 0);
  std::filesystem::create_directory(directory_ / "directory");
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string socket_name = directory_ / "socket";
  ASSERT_LT(socket_name.size(), sizeof(address.sun_path));
  std::copy(socket_name.begin(), socket_name.end(), address.sun_path);
  const UniqueFd socket_fd(socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(bind(socket_fd.get(), reinterpret_cast<sockaddr*>(&address),
                 sizeof(address)),
            0);

  const std::pair<std::string, std::string> cases[] = {
      {directory_ / "fifo", "a FIFO"},
      {directory_ / "directory", "a directory"},
      {socket_name, "a socket"},
      {"/dev/null", "a character device"},
  };
  for (const auto& [path, type] : cases) {
    const auto file = PosixFileSystem().Open(path, Access::kReadOnly);
    EXPECT_EQ(ErrnoOf(file.status()), EACCES);
    EXPECT_EQ(file.status().message(),
              absl::StrCat(path, ": is ", type,
                           ", not a regular file or block device"));
    EXPECT_EQ(ErrnoOf(PosixFileSystem().Stat(path).status()), EACCES);
  }
}

TEST_F(PosixFileTest, CreateIsExclusive) {
  const auto file = PosixFileSystem().Create(name_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->path(), name_);
  EXPECT_TRUE(Write(**file, 0, "abc").ok());
  EXPECT_EQ(ErrnoOf(PosixFileSystem().Create(name_).status()), EEXIST);
  std::filesystem::create_symlink("nowhere", directory_ / "dangling");
  EXPECT_EQ(ErrnoOf(PosixFileSystem().Create(directory_ / "dangling").status()),
            EEXIST);
}

TEST_F(PosixFileTest, AFileTakesThePlaceOfAnother) {
  const auto old = Make("old");
  ASSERT_EQ(chmod(name_.c_str(), 0640), 0);
  if (geteuid() == 0) {
    ASSERT_EQ(chown(name_.c_str(), 12, 34), 0);
  }
  const FileStat model = *old->Stat();
  const std::string from = name_ + ".new";
  const auto file = *PosixFileSystem().Create(from);
  ASSERT_TRUE(Write(*file, 0, "new").ok());
  const absl::Status status = PosixFileSystem().Replace(from, name_);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Contents(), "new");
  EXPECT_FALSE(std::filesystem::exists(from));
  const FileStat stat = *Open(Access::kReadOnly)->Stat();
  EXPECT_EQ(stat.id, (*file->Stat()).id);
  EXPECT_EQ(stat.mode, model.mode);
  EXPECT_EQ(stat.uid, model.uid);
  EXPECT_EQ(stat.gid, model.gid);
  // What was open stays.
  EXPECT_EQ((*old->Stat()).id, model.id);
}

TEST_F(PosixFileTest, AReplaceThatFailsChangesNothing) {
  Make("old");
  EXPECT_EQ(ErrnoOf(PosixFileSystem().Replace(name_ + ".new", name_)), ENOENT);
  std::ofstream(name_ + ".new") << "new";
  EXPECT_EQ(ErrnoOf(PosixFileSystem().Replace(name_ + ".new", name_ + ".x")),
            ENOENT);
  EXPECT_EQ(ErrnoOf(PosixFileSystem().Replace("/elsewhere", name_)), EXDEV);
  EXPECT_EQ(Contents(), "old");
  EXPECT_TRUE(std::filesystem::exists(name_ + ".new"));
}

TEST_F(PosixFileTest, RemoveAndMissingFiles) {
  Make("");
  EXPECT_TRUE(PosixFileSystem().Remove(name_).ok());
  EXPECT_EQ(ErrnoOf(PosixFileSystem().Remove(name_)), ENOENT);
  const auto file = PosixFileSystem().Open(name_, Access::kReadOnly);
  EXPECT_EQ(file.status().message(),
            absl::StrCat(name_, ": open: No such file or directory"));
}

}  // namespace
}  // namespace flatcow
