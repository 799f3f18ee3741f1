// SPDX-License-Identifier: Apache-2.0
//
// What the kernel keeps of a mount, and how it ends when SOURCE changes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "flatcow/image_ops.h"
#include "model/image_testing.h"
#include "mount/await.h"
#include "mount/daemon.h"
#include "mount/read_metric.h"

namespace flatcow {
namespace {

class MountWatchTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    MakeRawFile(source_ / "base", 1, 65536);
    MakeQed(source_ / "disk", "base", "raw");
    MustRun("mkdir " + (source_ / "folder"));
    MakeQed(source_ / "folder/other", "../base", "raw");
    daemon_ = std::make_unique<Daemon>(source_.path());
    ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
    // Reads the folders.
    MustRun("ls -lR " + daemon_->mountpoint());
  }

  static int StatOf(const std::string& path, struct stat& info) {
    return stat(path.c_str(), &info) == 0 ? 0 : errno;
  }

  TemporaryDirectory source_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(MountWatchTest, NamesAndAttributesOfClosedViewsAreKept) {
  const std::vector<std::string> views = {daemon_->File("disk.raw"),
                                          daemon_->File("folder/other.raw")};
  struct stat info;
  for (const std::string& view : views) ASSERT_EQ(StatOf(view, info), 0);
  // However slow the machine: some of these are less than a second apart.
  constexpr int kTimes = 2000;
  const auto requests = [this] {
    return ReadRequestCount(*daemon_, "lookup", 0) +
           ReadRequestCount(*daemon_, "getattr", 0);
  };
  const uint64_t before = requests();
  for (int i = 0; i < kTimes; ++i) {
    for (const std::string& view : views) {
      ASSERT_EQ(StatOf(view, info), 0);
      EXPECT_EQ(info.st_size, 65536);
    }
  }
  EXPECT_LT(requests() - before, 2u * kTimes / 2);
}

TEST_F(MountWatchTest, ANewImageIsThereAtOnce) {
  struct stat info;
  for (int i = 0; i < 20; ++i) {
    const std::string name = "folder/new" + std::to_string(i);
    EXPECT_EQ(StatOf(daemon_->File(name + ".raw"), info), ENOENT);
    MakeQed(source_ / name, "../base", "raw");
    EXPECT_EQ(StatOf(daemon_->File(name + ".raw"), info), 0);
  }
}

TEST_F(MountWatchTest, AnImageThatIsGoneIsGone) {
  struct stat info;
  ASSERT_EQ(StatOf(daemon_->File("folder/other.raw"), info), 0);
  MustRun("rm " + (source_ / "folder/other"));
  Await([&] {
    return StatOf(daemon_->File("folder/other.raw"), info) == ENOENT;
  });
  ASSERT_EQ(StatOf(daemon_->File("disk.raw"), info), 0);
  MustRun("mv " + (source_ / "disk") + " " + (source_ / "folder"));
  Await([&] { return StatOf(daemon_->File("disk.raw"), info) == ENOENT; });
  EXPECT_EQ(StatOf(daemon_->File("folder/disk.raw"), info), 0);
}

TEST_F(MountWatchTest, AnotherImageOfTheNameIsSeen) {
  const std::string view = daemon_->File("disk.raw");
  struct stat info;
  for (off_t size = 1 << 20; size < (10 << 20); size += 1 << 20) {
    ASSERT_EQ(StatOf(view, info), 0);
    MakeQed(source_ / "new", "", "", static_cast<uint64_t>(size));
    MustRun("mv " + (source_ / "new") + " " + (source_ / "disk"));
    Await([&] { return StatOf(view, info) == 0 && info.st_size == size; });
  }
}

TEST_F(MountWatchTest, ChangesOfAFileAreSeen) {
  const std::string view = daemon_->File("folder/other.raw");
  struct stat info;
  ASSERT_EQ(StatOf(view, info), 0);
  MustRun("chmod 0640 " + (source_ / "folder/other"));
  Await([&] { return StatOf(view, info) == 0 && info.st_mode == 0100640u; });
  Must(ResizeImage(PosixFileSystem(), source_ / "folder/other",
                   {.bytes = 1 << 20}));
  Await([&] { return StatOf(view, info) == 0 && info.st_size == 1 << 20; });
}

TEST_F(MountWatchTest, AFolderThatIsMovedTakesItsViewsAlong) {
  const std::string view = daemon_->File("folder/other.raw");
  struct stat info;
  ASSERT_EQ(StatOf(view, info), 0);
  MustRun("mv " + (source_ / "folder") + " " + (source_ / "elsewhere"));
  Await([&] { return StatOf(view, info) == ENOENT; });
  const std::string moved = daemon_->File("elsewhere/other.raw");
  ASSERT_EQ(StatOf(moved, info), 0);
  MustRun("chmod 0600 " + (source_ / "elsewhere/other"));
  Await([&] { return StatOf(moved, info) == 0 && info.st_mode == 0100600u; });
  MustRun("mkdir " + (source_ / "folder"));
  MakeQed(source_ / "folder/other", "", "", 512);
  EXPECT_EQ(StatOf(view, info), 0);
  EXPECT_EQ(info.st_size, 512);
}

// A name that is dropped shows as deleted in /proc, and what is mounted on it
// goes.
TEST_F(MountWatchTest, AViewInUseKeepsItsNameWhenItsFileChanges) {
  const std::string view = daemon_->File("disk.raw");
  const int fd = open(view.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(pwrite(fd, "x", 1, 0), 1);
  ASSERT_EQ(fsync(fd), 0);
  MustRun("chmod 0600 " + (source_ / "disk"));
  struct stat info;
  Await([&] { return StatOf(view, info) == 0 && info.st_mode == 0100600u; });
  char path[4096] = {};
  ASSERT_GT(readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path,
                     sizeof(path) - 1),
            0);
  EXPECT_EQ(path, view);
  close(fd);
}

// The target's folder is not watched.
TEST_F(MountWatchTest, NothingIsKeptOfWhatALinkLeadsTo) {
  TemporaryDirectory elsewhere;
  MakeQed(elsewhere / "disk", "", "", 65536);
  MustRun("ln -s " + (elsewhere / "disk") + " " + (source_ / "link"));
  daemon_ = std::make_unique<Daemon>(
      source_.path(),
      std::vector<std::string>{"-o", "allow=" + elsewhere.path()});
  ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
  MustRun("ls -l " + daemon_->mountpoint());
  struct stat info;
  ASSERT_EQ(StatOf(daemon_->File("link.raw"), info), 0);
  ASSERT_EQ(chmod((elsewhere / "disk").c_str(), 0600), 0);
  ASSERT_EQ(StatOf(daemon_->File("link.raw"), info), 0);
  EXPECT_EQ(info.st_mode, 0100600u);
}

}  // namespace
}  // namespace flatcow
