// SPDX-License-Identifier: Apache-2.0
//
// Which views a mount shows, and what is and isn't done to them.
#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "model/draft_image.h"
#include "mount/await.h"
#include "mount/daemon.h"
#include "mount/open_errno.h"

namespace flatcow {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> List(const std::string& directory) {
  std::vector<std::string> names;
  DIR* const stream = opendir(directory.c_str());
  if (stream == nullptr) return names;
  while (const dirent* entry = readdir(stream)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(stream);
  std::sort(names.begin(), names.end());
  return names;
}

struct stat StatOf(const std::string& path) {
  struct stat result = {};
  EXPECT_EQ(stat(path.c_str(), &result), 0) << path << ": " << strerror(errno);
  return result;
}

class MountViewsTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    MakeRawFile(source_ / "base.raw", 1, 1 << 20);
  }

  void Start(std::vector<std::string> options = {}) {
    daemon_ = std::make_unique<Daemon>(source_.path(), std::move(options), "");
    ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
  }

  TemporaryDirectory source_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(MountViewsTest, DraftsOfAddCowAreImagesToo) {
  MakeRawFile(source_ / "data", 2, 1 << 20);
  for (const auto& [name, draft] :
       {std::pair{"june", Draft::kJune2012}, {"july", Draft::kJuly2012}}) {
    std::ofstream(source_ / name, std::ios::binary)
        << DraftBytes({.draft = draft,
                       .backing = "base.raw",
                       .backing_format = "raw",
                       .image = "data"})
        << '\x02';
  }
  Start();
  EXPECT_THAT(List(daemon_->mountpoint()), ElementsAre("july.raw", "june.raw"));
  // The second cluster is the image file's, the rest the backing file's.
  const std::string expected =
      MustRun("cd " + source_.path() +
              " && (head -c 65536 base.raw; tail -c +65537 data | head -c "
              "65536; tail -c +131073 base.raw) | sha256sum");
  for (const char* view : {"june.raw", "july.raw"}) {
    EXPECT_EQ(MustRun("sha256sum < " + daemon_->File(view)), expected);
  }
}

TEST_F(MountViewsTest, MirrorsTheFoldersThatHoldImages) {
  MustRun("mkdir -p " + (source_ / "web/deep") + " " + (source_ / "empty"));
  MakeQed(source_ / "a.qed", "base.raw", "raw");
  MakeQed(source_ / "web/deep/b", "../../base.raw", "raw");
  MakeAddCow(source_ / "web/c.add-cow", "../base.raw", "c.image");
  MustRun("mkfifo " + (source_ / "fifo"));
  Start();
  EXPECT_THAT(List(daemon_->mountpoint()), ElementsAre("a.qed.raw", "web"));
  EXPECT_THAT(List(daemon_->File("web")), ElementsAre("c.add-cow.raw", "deep"));
  EXPECT_THAT(List(daemon_->File("web/deep")), ElementsAre("b.raw"));
  for (const char* view :
       {"a.qed.raw", "web/deep/b.raw", "web/c.add-cow.raw"}) {
    MustRun("cmp " + (source_ / "base.raw") + " " + daemon_->File(view));
  }
}

TEST_F(MountViewsTest, ImagesComeAndGo) {
  Start();
  EXPECT_THAT(List(daemon_->mountpoint()), IsEmpty());
  MakeQed(source_ / "new", "base.raw", "raw");
  EXPECT_EQ(StatOf(daemon_->File("new.raw")).st_size, 1 << 20);
  MustRun("mkdir " + (source_ / "later"));
  MakeQed(source_ / "later/one", "../base.raw", "raw");
  EXPECT_THAT(List(daemon_->mountpoint()), ElementsAre("later", "new.raw"));
  MustRun("cmp " + (source_ / "base.raw") + " " +
          daemon_->File("later/one.raw"));
  MustRun("rm -r " + (source_ / "new") + " " + (source_ / "later"));
  EXPECT_EQ(OpenErrno(daemon_->File("new.raw"), O_RDONLY), ENOENT);
  EXPECT_THAT(List(daemon_->mountpoint()), IsEmpty());
  // The same name, another image.
  MakeQed(source_ / "new", "", "", 4096);
  Await([&] { return StatOf(daemon_->File("new.raw")).st_size == 4096; });
}

TEST_F(MountViewsTest, ARawDiskIsNoViewWhateverItsGuestWrites) {
  // A guest that owns the raw disk of an overlay makes it look like an image of
  // a file that it wants to read.
  MakeAddCow(source_ / "top", "base.raw", "guest.image");
  MakeQed(source_ / "bait", "base.raw", "raw");
  Start();
  EXPECT_THAT(List(daemon_->mountpoint()), ElementsAre("bait.raw", "top.raw"));
  for (const char* raw : {"guest.image", "base.raw"}) {
    MustRun("dd if=" + (source_ / "bait") + " of=" + (source_ / raw) +
            " conv=notrunc status=none");
    EXPECT_EQ(OpenErrno(daemon_->File(std::string(raw) + ".raw"), O_RDONLY),
              ENOENT);
    EXPECT_THAT(List(daemon_->mountpoint()),
                ElementsAre("bait.raw", "top.raw"));
  }
}

// The image file is an image, and so is what that has in turn.
TEST_F(MountViewsTest, AnImageInAnImageIsOneView) {
  MustRun("cd " + source_.path() + " && " + ToolBinary() +
          " create -q -f add-cow -o image_file=c.qed,image_fmt=qed b 1M && " +
          ToolBinary() +
          " create -q -f add-cow -b base.raw -F raw"
          " -o image_file=b,image_fmt=add-cow a");
  Start();
  EXPECT_THAT(List(daemon_->mountpoint()), ElementsAre("a.raw"));
  EXPECT_EQ(StatOf(daemon_->File("a.raw")).st_size, 1 << 20);
  MustRun("cmp " + (source_ / "base.raw") + " " + daemon_->File("a.raw"));
  MustRun("cp " + (source_ / "base.raw") + " " + (source_ / "copy") +
          " && for file in " + (source_ / "copy") + " " +
          daemon_->File("a.raw") +
          "; do printf hello | dd of=$file bs=1 seek=70000 conv=notrunc,fsync"
          " status=none; done && cmp " +
          (source_ / "copy") + " " + daemon_->File("a.raw"));
  daemon_.reset();
  MustRun(ToolBinary() + " check -q " + (source_ / "a") + " && " +
          ToolBinary() + " check -q " + (source_ / "c.qed") + " && " +
          ToolBinary() + " compare -q -f add-cow -F raw " + (source_ / "a") +
          " " + (source_ / "copy"));
}

TEST_F(MountViewsTest, TwoNamesOfOneImageAreOneFile) {
  MakeQed(source_ / "disk", "base.raw", "raw");
  MustRun("ln " + (source_ / "disk") + " " + (source_ / "hard"));
  MustRun("ln -s disk " + (source_ / "soft"));
  Start();
  const struct stat stat = StatOf(daemon_->File("disk.raw"));
  EXPECT_EQ(StatOf(daemon_->File("hard.raw")).st_ino, stat.st_ino);
  EXPECT_EQ(StatOf(daemon_->File("soft.raw")).st_ino, stat.st_ino);
  // Open through all names at once: one image, no lock conflict.
  MustRun("exec 3<>" + daemon_->File("disk.raw") + " 4<>" +
          daemon_->File("hard.raw") + " 5<>" + daemon_->File("soft.raw") +
          " && echo hello >&3 && head -c 5 <&5");
}

TEST_F(MountViewsTest, LinksToFoldersAreNotFollowed) {
  MustRun("mkdir " + (source_ / "real"));
  MakeQed(source_ / "real/disk", "../base.raw", "raw");
  MustRun("ln -s real " + (source_ / "link"));
  MustRun("ln -s . " + (source_ / "self"));
  Start();
  EXPECT_THAT(List(daemon_->mountpoint()), ElementsAre("real"));
}

TEST_F(MountViewsTest, NamesThatWouldGetTooLongAreLoggedAndLeftOut) {
  const std::string fits(251, 'x');
  const std::string too_long(252, 'y');
  MakeQed(source_ / fits, "base.raw", "raw");
  MakeQed(source_ / too_long, "base.raw", "raw");
  Start();
  EXPECT_THAT(List(daemon_->mountpoint()), ElementsAre(fits + ".raw"));
  EXPECT_TRUE(daemon_->WaitForLog(too_long));
}

TEST_F(MountViewsTest, ASingleImageIsTheOnlyView) {
  MakeQed(source_ / "one", "base.raw", "raw");
  MakeQed(source_ / "two", "base.raw", "raw");
  Daemon daemon(source_ / "one");
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  EXPECT_THAT(List(daemon.mountpoint()), ElementsAre("one.raw"));
  MustRun("cmp " + (source_ / "base.raw") + " " + daemon.File("one.raw"));
}

TEST_F(MountViewsTest, MountingOverSourceWorks) {
  MustRun("mkdir " + (source_ / "sub"));
  MakeQed(source_ / "disk", "base.raw", "raw");
  MakeQed(source_ / "sub/disk", (source_ / "base.raw"), "raw");
  TemporaryDirectory copy;
  MustRun("cp " + (source_ / "base.raw") + " " + (copy / "base"));
  Daemon daemon(source_.path(), {}, source_.path());
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  EXPECT_THAT(List(source_.path()), ElementsAre("disk.raw", "sub"));
  MustRun("cmp " + (source_ / "disk.raw") + " " + (copy / "base"));
  MustRun("cmp " + (source_ / "sub/disk.raw") + " " + (copy / "base"));
  EXPECT_EQ(daemon.Stop(), 0);
}

TEST_F(MountViewsTest, AttributesAreTheImages) {
  MakeQed(source_ / "disk", "base.raw", "raw");
  MustRun("chmod 0640 " + (source_ / "disk") + " && touch -d @1000000000 " +
          (source_ / "disk"));
  Start();
  struct stat stat = StatOf(daemon_->File("disk.raw"));
  EXPECT_EQ(stat.st_size, 1 << 20);
  EXPECT_EQ(stat.st_mode, static_cast<mode_t>(S_IFREG | 0640));
  EXPECT_EQ(stat.st_mtim.tv_sec, 1000000000);
  EXPECT_GT(stat.st_blocks, 0);
  EXPECT_LE(stat.st_blocks * 512, stat.st_size);
  MustRun("printf x | dd of=" + daemon_->File("disk.raw") +
          " conv=notrunc,fsync status=none");
  EXPECT_GT(StatOf(daemon_->File("disk.raw")).st_mtim.tv_sec, 1000000000);
  struct statvfs own;
  struct statvfs sources;
  ASSERT_EQ(statvfs(daemon_->mountpoint().c_str(), &own), 0);
  ASSERT_EQ(statvfs(source_.path().c_str(), &sources), 0);
  EXPECT_EQ(own.f_blocks, sources.f_blocks);
}

TEST_F(MountViewsTest, OwnerAndModeOptions) {
  MakeQed(source_ / "disk", "base.raw", "raw");
  MustRun("chmod 0666 " + (source_ / "disk"));
  Start({"-o", "uid=12,gid=34,umask=027,ro"});
  const struct stat stat = StatOf(daemon_->File("disk.raw"));
  EXPECT_EQ(stat.st_uid, 12u);
  EXPECT_EQ(stat.st_gid, 34u);
  EXPECT_EQ(stat.st_mode & 0777, 0440u);
  EXPECT_EQ(OpenErrno(daemon_->File("disk.raw"), O_RDWR), EROFS);
  EXPECT_EQ(OpenErrno(daemon_->File("disk.raw"), O_RDONLY), 0);
}

TEST_F(MountViewsTest, TheMountsShapeCannotBeChanged) {
  MakeQed(source_ / "disk", "base.raw", "raw");
  Start();
  const std::string view = daemon_->File("disk.raw");
  const std::string other = daemon_->File("other");
  EXPECT_EQ(OpenErrno(other, O_RDWR | O_CREAT), EPERM);
  const auto expect_eperm = [](int result, const char* what) {
    EXPECT_EQ(result, -1) << what;
    EXPECT_EQ(errno, EPERM) << what;
  };
  expect_eperm(rename(view.c_str(), other.c_str()), "rename");
  expect_eperm(unlink(view.c_str()), "unlink");
  expect_eperm(mkdir(other.c_str(), 0755), "mkdir");
  expect_eperm(symlink("x", other.c_str()), "symlink");
  expect_eperm(link(view.c_str(), other.c_str()), "link");
  expect_eperm(mknod(other.c_str(), S_IFREG | 0600, 0), "mknod");
  expect_eperm(chmod(view.c_str(), 0600), "chmod");
  expect_eperm(chown(view.c_str(), 1, 1), "chown");
  expect_eperm(utimensat(AT_FDCWD, view.c_str(), nullptr, 0), "utimes");
}

TEST_F(MountViewsTest, LocksOfVirtualMachinesWorkOnAView) {
  MakeQed(source_ / "disk", "base.raw", "raw");
  Start();
  const std::string view = daemon_->File("disk.raw");
  const int one = open(view.c_str(), O_RDWR | O_CLOEXEC);
  const int two = open(view.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(one, 0);
  ASSERT_GE(two, 0);
  EXPECT_EQ(flock(one, LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(flock(two, LOCK_EX | LOCK_NB), -1);
  EXPECT_EQ(errno, EWOULDBLOCK);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_start = 100;
  lock.l_len = 1;
  EXPECT_EQ(fcntl(one, F_OFD_SETLK, &lock), 0);
  EXPECT_EQ(fcntl(two, F_OFD_SETLK, &lock), -1);
  close(one);
  close(two);
}

TEST_F(MountViewsTest, SynchronousDirectWritesAreDurableWithoutFsync) {
  if (!HasProgram("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  MakeQed(source_ / "disk", "base.raw", "raw");
  Start();
  const int fd = open(daemon_->File("disk.raw").c_str(),
                      O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  alignas(4096) static char data[4096];
  std::fill(std::begin(data), std::end(data), 'D');
  ASSERT_EQ(pwrite(fd, data, sizeof(data), 65536), 4096);
  // The mapping is in the file, though nobody has synced or closed the view.
  daemon_->Signal(SIGKILL);
  daemon_->WaitForExit();
  close(fd);
  MustRun("umount -l " + daemon_->mountpoint());
  MustRun("cd " + source_.path() +
          " && qemu-io -f qed -r -U -c 'read -P 68 65536 4096' disk | "
          "tee /dev/stderr | grep -q 'read 4096/4096' && "
          "! qemu-io -f qed -r -U -c 'read -P 68 65536 4096' disk | "
          "grep -q failed");
}

TEST_F(MountViewsTest, CacheNoneReadsTheSame) {
  MakeQed(source_ / "disk", "base.raw", "raw");
  Start({"-o", "cache=none"});
  MustRun("cmp " + (source_ / "base.raw") + " " + daemon_->File("disk.raw"));
}

}  // namespace
}  // namespace flatcow
