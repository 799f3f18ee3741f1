// SPDX-License-Identifier: Apache-2.0
#include "flatcow/confined_file_system.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "flatcow/status.h"
#include "io/path_walk.h"
#include "io/unique_fd.h"
#include "support/scoped_mount.h"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

namespace fs = std::filesystem;

// As the walk itself asks: without a word to the file system.
uint64_t DeviceOf(const std::string& path) {
  struct statx attributes;
  EXPECT_EQ(statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC, STATX_TYPE,
                  &attributes),
            0);
  return makedev(attributes.stx_dev_major, attributes.stx_dev_minor);
}

// root/a, root/sub/b, other/c and, outside both, secret; root and other are the
// roots.
class ConfinedFileSystemTest : public testing::Test {
 protected:
  ConfinedFileSystemTest() {
    fs::create_directories(top_ / "root/sub");
    fs::create_directories(top_ / "other");
    for (const char* name : {"root/a", "root/sub/b", "other/c", "secret"}) {
      std::ofstream(top_ / name) << name;
    }
    files_ = *ConfinedFileSystem::Open({root_, top_ / "other"});
  }

  // What Open() finds, without the temporary directory; or the errno.
  std::string Found(const std::string& path) {
    const auto file = files_->Open(path, Access::kReadOnly);
    const auto stat = files_->Stat(path);
    EXPECT_EQ(ErrnoOf(file.status()), ErrnoOf(stat.status()));
    if (!file.ok()) return strerrorname_np(ErrnoOf(file.status()));
    EXPECT_EQ((*file)->Stat()->id, stat->id);
    return (*file)->path().substr(top_.path().size() + 1);
  }

  void Link(const std::string& target, const std::string& name) {
    fs::create_symlink(target, top_ / name);
  }

  TemporaryDirectory top_;
  const std::string root_ = top_ / "root";
  std::unique_ptr<ConfinedFileSystem> files_;
};

TEST_F(ConfinedFileSystemTest, RootsAreResolved) {
  Link("root", "alias");
  auto files = ConfinedFileSystem::Open({top_ / "alias/sub/.."});
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ((*files)->root_path(0), root_);
  struct stat attributes;
  ASSERT_EQ(fstat((*files)->root_descriptor(0), &attributes), 0);
  EXPECT_TRUE(S_ISDIR(attributes.st_mode));
  EXPECT_EQ(ErrnoOf(ConfinedFileSystem::Open({top_ / "nothing"}).status()),
            ENOENT);
  EXPECT_EQ(ErrnoOf(ConfinedFileSystem::Open({top_ / "secret"}).status()),
            ENOTDIR);
}

TEST_F(ConfinedFileSystemTest, FilesInsideARoot) {
  EXPECT_EQ(Found(root_ + "/a"), "root/a");
  EXPECT_EQ(Found(root_ + "/sub/b"), "root/sub/b");
  EXPECT_EQ(Found(root_ + "//./sub/.//b"), "root/sub/b");
  EXPECT_EQ(Found(top_ / "other/c"), "other/c");
  EXPECT_EQ(Found(root_ + "/nothing"), "ENOENT");
  EXPECT_EQ(Found(root_ + "/nothing/b"), "ENOENT");
  EXPECT_EQ(Found(root_ + "/a/b"), "ENOTDIR");
  EXPECT_EQ(Found(root_ + "/a/"), "ENOTDIR");
  EXPECT_EQ(Found(root_ + "/a/."), "ENOTDIR");
  EXPECT_EQ(Found(""), "ENOENT");
  EXPECT_EQ(Found(root_ + "/" + std::string(300, 'x')), "ENAMETOOLONG");
  EXPECT_EQ(Found(root_ + std::string("/a\0b", 4)), "EINVAL");
}

TEST_F(ConfinedFileSystemTest, FilesOutsideAreRefused) {
  EXPECT_EQ(Found(top_ / "secret"), "EACCES");
  EXPECT_EQ(Found("/etc/passwd"), "EACCES");
  EXPECT_EQ(Found(root_ + "/../secret"), "EACCES");
  // A name that only begins like a root.
  fs::create_directory(top_ / "root2");
  std::ofstream(top_ / "root2/a");
  EXPECT_EQ(Found(top_ / "root2/a"), "EACCES");
}

TEST_F(ConfinedFileSystemTest, TheMessageNamesTheOption) {
  Link("../secret", "root/link");
  EXPECT_EQ(
      files_->Open(root_ + "/link", Access::kReadOnly).status().message(),
      absl::StrCat(top_ / "secret",
                   ": lies outside the directories that may be opened; mount "
                   "with -o allow=",
                   top_.path(), " to permit it"));
}

TEST_F(ConfinedFileSystemTest, DotDot) {
  EXPECT_EQ(Found(root_ + "/sub/../a"), "root/a");
  EXPECT_EQ(Found(root_ + "/../other/c"), "other/c");
  EXPECT_EQ(Found(root_ + "/sub/../../root/sub/b"), "root/sub/b");
  EXPECT_EQ(Found("/../../" + root_ + "/a"), "root/a");
  EXPECT_EQ(Found(root_ + "/a/../a"), "ENOTDIR");
}

TEST_F(ConfinedFileSystemTest, LinksInside) {
  Link("a", "root/relative");
  Link(root_ + "/sub/b", "root/absolute");
  Link("../a", "root/sub/up");
  Link("sub", "root/directory");
  Link("relative", "root/twice");
  Link("sub/", "root/slash");
  EXPECT_EQ(Found(root_ + "/relative"), "root/a");
  EXPECT_EQ(Found(root_ + "/absolute"), "root/sub/b");
  EXPECT_EQ(Found(root_ + "/sub/up"), "root/a");
  EXPECT_EQ(Found(root_ + "/directory/b"), "root/sub/b");
  EXPECT_EQ(Found(root_ + "/directory/../a"), "root/a");
  EXPECT_EQ(Found(root_ + "/twice"), "root/a");
  EXPECT_EQ(Found(root_ + "/slash/b"), "root/sub/b");
  EXPECT_EQ(Found(root_ + "/relative/"), "ENOTDIR");
}

TEST_F(ConfinedFileSystemTest, LinksBetweenOutsideAndInside) {
  Link("../secret", "root/out");
  Link("/etc/passwd", "root/far");
  Link("..", "root/sub/parent");
  Link("root/a", "in");
  Link("../other/c", "root/across");
  EXPECT_EQ(Found(root_ + "/out"), "EACCES");
  EXPECT_EQ(Found(root_ + "/far"), "EACCES");
  EXPECT_EQ(Found(root_ + "/sub/parent/../secret"), "EACCES");
  EXPECT_EQ(Found(top_ / "in"), "root/a");
  EXPECT_EQ(Found(root_ + "/across"), "other/c");
}

TEST_F(ConfinedFileSystemTest, LinkLoops) {
  Link("loop", "root/loop");
  Link("pong", "root/ping");
  Link("ping", "root/pong");
  Link("nowhere", "root/dangling");
  EXPECT_EQ(Found(root_ + "/loop"), "ELOOP");
  EXPECT_EQ(Found(root_ + "/ping/x"), "ELOOP");
  EXPECT_EQ(Found(root_ + "/dangling"), "ENOENT");
}

TEST_F(ConfinedFileSystemTest, FortyLinksAndNoMore) {
  Link("a", "root/l1");
  for (int i = 2; i <= 41; ++i) {
    Link(absl::StrCat("l", i - 1), absl::StrCat("root/l", i));
  }
  EXPECT_EQ(Found(root_ + "/l40"), "root/a");
  EXPECT_EQ(Found(root_ + "/l41"), "ELOOP");
}

TEST_F(ConfinedFileSystemTest, RelativeNamesStartInTheWorkingDirectory) {
  const fs::path before = fs::current_path();
  fs::current_path(top_.path());
  EXPECT_EQ(Found("root/a"), "root/a");
  EXPECT_EQ(Found("secret"), "EACCES");
  fs::current_path(before);
}

TEST_F(ConfinedFileSystemTest, OtherTypesAreNotOpened) {
  ASSERT_EQ(mkfifo((root_ + "/fifo").c_str(), 0600), 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string socket_name = root_ + "/socket";
  ASSERT_LT(socket_name.size(), sizeof(address.sun_path));
  std::copy(socket_name.begin(), socket_name.end(), address.sun_path);
  const UniqueFd socket_fd(socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(bind(socket_fd.get(), reinterpret_cast<sockaddr*>(&address),
                 sizeof(address)),
            0);
  for (const auto& [name, type] : {std::pair("fifo", "a FIFO"),
                                   {"socket", "a socket"},
                                   {"sub", "a directory"},
                                   {"sub/", "a directory"}}) {
    EXPECT_EQ(Found(root_ + "/" + name), "EACCES");
    EXPECT_TRUE(absl::StrContains(
        files_->Open(root_ + "/" + name, Access::kReadOnly).status().message(),
        absl::StrCat("is ", type, ", not a regular file or block device")));
  }
  EXPECT_EQ(Found(root_), "EACCES");
}

TEST_F(ConfinedFileSystemTest, FilesOpenForWriting) {
  const auto file = files_->Open(root_ + "/a", Access::kReadWrite);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->Truncate(0).ok());
}

TEST_F(ConfinedFileSystemTest, CreateAndRemoveInside) {
  const auto file = files_->Create(root_ + "/sub/new");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->path(), root_ + "/sub/new");
  EXPECT_EQ(ErrnoOf(files_->Create(root_ + "/sub/new").status()), EEXIST);
  Link("nowhere", "root/dangling");
  EXPECT_EQ(ErrnoOf(files_->Create(root_ + "/dangling").status()), EEXIST);
  EXPECT_TRUE(files_->Remove(root_ + "/sub/new").ok());
  EXPECT_EQ(ErrnoOf(files_->Remove(root_ + "/sub/new")), ENOENT);
  // Removes the link, not what it leads to.
  EXPECT_TRUE(files_->Remove(root_ + "/dangling").ok());
  for (const char* name : {"/", "/.", "/..", "/sub/"}) {
    EXPECT_EQ(ErrnoOf(files_->Create(root_ + name).status()), EISDIR) << name;
    EXPECT_EQ(ErrnoOf(files_->Remove(root_ + name)), EISDIR) << name;
  }
}

// By its own way, where the file system has one, and by the way of all others.
TEST_F(ConfinedFileSystemTest, AFileWithoutAName) {
  const auto file = files_->CreateUnnamed(root_ + "/sub");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto other = files_->FileSystem::CreateUnnamed(root_ + "/sub");
  ASSERT_TRUE(other.ok()) << other.status();
  const std::vector<uint8_t> bytes(5000, 'x');
  iovec piece{const_cast<uint8_t*>(bytes.data()), bytes.size()};
  for (const auto* made : {&file, &other}) {
    EXPECT_TRUE((**made)->Write(0, absl::MakeConstSpan(&piece, 1)).ok());
    std::vector<uint8_t> read(bytes.size());
    EXPECT_EQ((**made)->Read(0, absl::MakeSpan(read)).value_or(0), 5000u);
    EXPECT_EQ(read, bytes);
    struct stat stat;
    ASSERT_EQ(fstat((**made)->Descriptor(), &stat), 0);
    EXPECT_EQ(stat.st_nlink, 0u);
  }
  const fs::directory_iterator names(root_ + "/sub");
  EXPECT_EQ(std::distance(begin(names), end(names)), 1);
  EXPECT_EQ(ErrnoOf(files_->CreateUnnamed(top_.path()).status()), EACCES);
  EXPECT_EQ(ErrnoOf(files_->CreateUnnamed(root_ + "/nothing").status()),
            ENOENT);
  EXPECT_EQ(ErrnoOf(files_->CreateUnnamed(root_ + "/a").status()), ENOTDIR);
}

TEST_F(ConfinedFileSystemTest, CreateAndRemoveOutside) {
  Link("..", "root/up");
  for (const std::string& path :
       {top_ / "new", root_ + "/../new", root_ + "/up/new"}) {
    const absl::Status status = files_->Create(path).status();
    EXPECT_EQ(ErrnoOf(status), EACCES);
    EXPECT_TRUE(absl::StrContains(
        status.message(), absl::StrCat("-o allow=", top_.path(), " to permit")))
        << status;
  }
  EXPECT_FALSE(fs::exists(top_ / "new"));
  EXPECT_EQ(ErrnoOf(files_->Remove(root_ + "/up/secret")), EACCES);
  EXPECT_TRUE(fs::exists(top_ / "secret"));
}

TEST_F(ConfinedFileSystemTest, ReplaceInsideOneDirectory) {
  const auto file = files_->Create(root_ + "/new");
  ASSERT_TRUE(file.ok()) << file.status();
  Link("..", "root/sub/up");
  const absl::Status status =
      files_->Replace(root_ + "/new", root_ + "/sub/up/a");
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(files_->Stat(root_ + "/a")->id, (*file)->Stat()->id);
  EXPECT_FALSE(fs::exists(root_ + "/new"));

  EXPECT_EQ(ErrnoOf(files_->Replace(root_ + "/a", root_ + "/sub/b")), EXDEV);
  EXPECT_EQ(ErrnoOf(files_->Replace(root_ + "/a", top_ / "secret")), EACCES);
  EXPECT_EQ(ErrnoOf(files_->Replace(top_ / "secret", root_ + "/a")), EACCES);
  EXPECT_TRUE(fs::exists(top_ / "secret"));
  EXPECT_TRUE(fs::exists(root_ + "/a"));
}

TEST_F(ConfinedFileSystemTest, ACoveredRootIsStillFound) {
  Link("root", "alias");
  Link(root_ + "/sub/b", "root/absolute");
  Link("../../root/a", "root/sub/around");
  const ScopedMount mount("tmpfs", root_);
  if (!mount.mounted()) GTEST_SKIP() << mount.why_not();
  for (const bool excluded : {false, true}) {
    if (excluded) files_->ExcludeDevice(DeviceOf(root_));
    EXPECT_EQ(Found(root_ + "/a"), "root/a");
    EXPECT_EQ(Found(top_ / "alias/a"), "root/a");
    EXPECT_EQ(Found(top_ / "other/../root/sub/b"), "root/sub/b");
    EXPECT_EQ(Found(root_ + "/absolute"), "root/sub/b");
    EXPECT_EQ(Found(root_ + "/sub/around"), "root/a");
    EXPECT_EQ(Found(root_ + "/../root/sub/b"), "root/sub/b");
  }
}

TEST_F(ConfinedFileSystemTest, NothingEntersTheExcludedDevice) {
  const std::string point = root_ + "/sub";
  const ScopedMount mount("tmpfs", point);
  if (!mount.mounted()) GTEST_SKIP() << mount.why_not();
  std::ofstream(point + "/x");
  Link("sub/x", "root/link");
  EXPECT_EQ(Found(point + "/x"), "root/sub/x");

  files_->ExcludeDevice(DeviceOf(point));
  EXPECT_EQ(Found(point + "/x"), "ELOOP");
  EXPECT_EQ(Found(point + "/../a"), "ELOOP");
  EXPECT_EQ(Found(point), "ELOOP");
  EXPECT_EQ(Found(root_ + "/link"), "ELOOP");
  EXPECT_EQ(Found(root_ + "/a"), "root/a");
  EXPECT_EQ(ErrnoOf(files_->Create(point + "/new").status()), ELOOP);
  EXPECT_EQ(ErrnoOf(files_->Remove(point + "/x")), ELOOP);
  EXPECT_TRUE(absl::StrContains(
      files_->Open(point + "/x", Access::kReadOnly).status().message(),
      "flatcow's own mount"));
}

// A FUSE mount whose server never answers: whoever asks it anything waits, and
// the alarm ends the test.
TEST_F(ConfinedFileSystemTest, TheExcludedDeviceIsNeverAsked) {
  for (const std::string& point : {root_ + "/sub", root_}) {
    const UniqueFd server(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!server.valid()) GTEST_SKIP() << "/dev/fuse cannot be opened";
    const ScopedMount mount(
        "fuse", point,
        absl::StrCat("fd=", server.get(), ",rootmode=40000,user_id=", getuid(),
                     ",group_id=", getgid()));
    if (!mount.mounted()) GTEST_SKIP() << mount.why_not();
    alarm(60);
    files_->ExcludeDevice(DeviceOf(point));
    EXPECT_EQ(Found(root_ + "/a"), "root/a");
    EXPECT_EQ(Found(top_ / "other/../root/a"), "root/a");
    EXPECT_EQ(Found(root_ + "/sub/b"), point == root_ ? "root/sub/b" : "ELOOP");
    EXPECT_EQ(Found(root_ + "/sub"), point == root_ ? "EACCES" : "ELOOP");
    alarm(0);
  }
}

TEST(IsInsideTest, ComparesWholeComponents) {
  EXPECT_TRUE(IsInside("/a/b", "/a"));
  EXPECT_TRUE(IsInside("/a", "/a"));
  EXPECT_TRUE(IsInside("/a", "/"));
  EXPECT_TRUE(IsInside("/", "/"));
  EXPECT_FALSE(IsInside("/ab", "/a"));
  EXPECT_FALSE(IsInside("/", "/a"));
  EXPECT_FALSE(IsInside("(unreachable)/a", "/"));
}

TEST(PathWalkTest, TheWholeTreeMayBeARoot) {
  TemporaryDirectory directory;
  std::ofstream(directory / "a");
  const auto files = *ConfinedFileSystem::Open({"/"});
  EXPECT_TRUE(files->Open(directory / "a", Access::kReadOnly).ok());
  EXPECT_TRUE(files->Create(directory / "b").ok());
  EXPECT_EQ(ErrnoOf(files->Open("/", Access::kReadOnly).status()), EACCES);
}

TEST(PathWalkTest, WithoutRootsItIsThePlainLookup) {
  TemporaryDirectory directory;
  std::ofstream(directory / "a");
  const auto found = WalkPath(directory / "./a", {});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(fs::equivalent(absl::StrCat("/proc/self/fd/", found->get()),
                             directory / "a"));
  EXPECT_TRUE(WalkPath("/", {}).ok());
}

}  // namespace
}  // namespace flatcow
