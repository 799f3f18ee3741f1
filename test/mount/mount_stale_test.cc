// SPDX-License-Identifier: Apache-2.0
//
// What a daemon that was killed leaves behind, and who clears it away.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "mount/daemon.h"
#include "mount/plain_user.h"

namespace flatcow {
namespace {

constexpr char kReplaced[] = "unmounted what a flatcow that died had left";

int StatErrno(const std::string& path) {
  struct statx info;
  return statx(AT_FDCWD, path.c_str(), AT_STATX_FORCE_SYNC, STATX_SIZE,
               &info) == 0
             ? 0
             : errno;
}

int CountOf(const std::string& word, const std::string& text) {
  int count = 0;
  for (size_t at = text.find(word); at != std::string::npos;
       at = text.find(word, at + 1)) {
    ++count;
  }
  return count;
}

class MountStaleTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    MustRun("chmod 0755 " + work_.path() + " " + source_.path());
    MustRun("mkdir " + mountpoint_ + " " + other_);
    MakeRawFile(source_ / "base", 1, 1 << 20);
    MakeQed(source_ / "disk", "base", "raw");
  }

  void TearDown() override {
    for (const std::string& place : {mountpoint_, other_}) {
      while (umount2(place.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
      }
    }
  }

  void MountAndKill(std::vector<std::string> options,
                    const std::string& mountpoint) {
    Daemon daemon(source_.path(), std::move(options), mountpoint);
    ASSERT_TRUE(daemon.mounted()) << daemon.Log();
    daemon.Signal(SIGKILL);
    ASSERT_EQ(daemon.WaitForExit(), 256 + SIGKILL);
    ASSERT_EQ(StatErrno(mountpoint), ENOTCONN);
  }

  // Starts on `mountpoint_`, and finds `stale` mounts to replace there.
  void ExpectReplaces(int stale, std::vector<std::string> options = {}) {
    Daemon daemon(source_.path(), std::move(options), mountpoint_);
    ASSERT_TRUE(daemon.mounted()) << daemon.Log();
    EXPECT_EQ(CountOf(kReplaced, daemon.Log()), stale) << daemon.Log();
    MustRun("cmp " + (source_ / "base") + " " + daemon.File("disk.raw"));
    EXPECT_EQ(daemon.Stop(), 0) << daemon.Log();
    // Nothing is left below.
    EXPECT_EQ(Shell("mountpoint -q " + mountpoint_).exit_code, 32);
  }

  // Exits as a failed mount does, says `reason`, and leaves what is mounted.
  void ExpectRefused(const std::string& command, const std::string& reason) {
    const CommandResult result = Shell(command + DaemonBinary() + " " +
                                       source_.path() + " " + mountpoint_);
    EXPECT_EQ(result.exit_code, 32) << result.output;
    EXPECT_NE(result.output.find(reason), std::string::npos) << result.output;
    EXPECT_NE(result.output.find("unmount it first"), std::string::npos)
        << result.output;
    EXPECT_EQ(StatErrno(mountpoint_), ENOTCONN);
  }

  TemporaryDirectory source_;
  TemporaryDirectory work_;
  const std::string mountpoint_ = work_ / "mnt";
  const std::string other_ = work_ / "other";
};

TEST_F(MountStaleTest, AFreshMountpointIsNotSpokenOf) { ExpectReplaces(0); }

TEST_F(MountStaleTest, AStaleMountIsReplaced) {
  MountAndKill({}, mountpoint_);
  ExpectReplaces(1);
}

TEST_F(MountStaleTest, WhoeverHasItsFilesOpenDoesNotMatter) {
  auto daemon = std::make_unique<Daemon>(
      source_.path(), std::vector<std::string>{}, mountpoint_);
  ASSERT_TRUE(daemon->mounted()) << daemon->Log();
  const int fd = open(daemon->File("disk.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  daemon->Signal(SIGKILL);
  daemon->WaitForExit();
  ExpectReplaces(1);
  EXPECT_EQ(pwrite(fd, "lost", 4, 0), -1);
  EXPECT_EQ(errno, ENOTCONN);
  close(fd);
}

TEST_F(MountStaleTest, TheSameThroughALinkASlashAndTheBackground) {
  MountAndKill({}, mountpoint_);
  const std::string link = work_ / "link";
  MustRun("ln -s mnt " + link);
  const std::string output =
      MustRun(DaemonBinary() + " " + source_.path() + " " + link + "/");
  EXPECT_EQ(CountOf(kReplaced, output), 1) << output;
  MustRun("cmp " + (source_ / "base") + " " + mountpoint_ + "/disk.raw");
  MustRun("umount " + mountpoint_);
}

TEST_F(MountStaleTest, AStackOfStaleMountsIsReplaced) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root for bind mounts";
  Daemon below(source_.path(), {}, mountpoint_);
  Daemon above(source_.path(), {}, other_);
  ASSERT_TRUE(below.mounted() && above.mounted());
  MustRun("mount --bind " + other_ + " " + mountpoint_);
  for (Daemon* daemon : {&below, &above}) {
    daemon->Signal(SIGKILL);
    daemon->WaitForExit();
  }
  ExpectReplaces(2);
  EXPECT_EQ(StatErrno(other_), ENOTCONN);
}

TEST_F(MountStaleTest, OneThatLiesUnderALivingMountStays) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root for a tmpfs";
  MountAndKill({}, mountpoint_);
  MustRun("mount -t tmpfs none " + mountpoint_);
  {
    Daemon daemon(source_.path(), {}, mountpoint_);
    ASSERT_TRUE(daemon.mounted()) << daemon.Log();
    EXPECT_EQ(CountOf(kReplaced, daemon.Log()), 0) << daemon.Log();
  }
  MustRun("umount " + mountpoint_);
  EXPECT_EQ(StatErrno(mountpoint_), ENOTCONN);
}

TEST_F(MountStaleTest, AMountOverItsOwnSourceIsReplaced) {
  MountAndKill({}, source_.path());
  Daemon daemon(source_.path(), {}, source_.path());
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  EXPECT_EQ(CountOf(kReplaced, daemon.Log()), 1) << daemon.Log();
  EXPECT_EQ(StatErrno(daemon.File("disk.raw")), 0);
}

TEST_F(MountStaleTest, ADeadMountOfAnotherKindIsAnError) {
  MountAndKill({"-o", "subtype=other"}, mountpoint_);
  ExpectRefused("", "the daemon of the fuse.other");
}

// ---- Users

class MountStaleUserTest : public MountStaleTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
    MountStaleTest::SetUp();
    if (IsSkipped()) return;
    MustRun("chown 65534:65534 " + mountpoint_);
    MustRun("chmod 0644 " + (source_ / "base") + " " + (source_ / "disk"));
    AdmitUsers(work_ / "admit");
  }
};

TEST_F(MountStaleUserTest, AUserReplacesHisOwn) {
  const ThroughProgram nobody(kAsNobody);
  MountAndKill({"-o", "allow_root"}, mountpoint_);
  ExpectReplaces(1, {"-o", "allow_root"});
}

TEST_F(MountStaleUserTest, RootReplacesAUsers) {
  {
    const ThroughProgram nobody(kAsNobody);
    MountAndKill({"-o", "allow_root"}, mountpoint_);
  }
  ExpectReplaces(1);
}

TEST_F(MountStaleUserTest, AUserLeavesRootsAlone) {
  MountAndKill({"-o", "allow_other"}, mountpoint_);
  ExpectRefused(absl::StrCat(kAsNobody, " "), "another user's flatcow");
}

}  // namespace
}  // namespace flatcow
