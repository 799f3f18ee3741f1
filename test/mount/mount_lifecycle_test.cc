// SPDX-License-Identifier: Apache-2.0
//
// From the command line to the end: usage, background, signals, exit codes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "flatcow/image.h"
#include "mount/daemon.h"
#include "mount/loop_device.h"

namespace flatcow {
namespace {

class MountLifecycleTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    MakeRawFile(source_ / "base", 1, 1 << 20);
    MakeQed(source_ / "disk", "base", "raw");
    MustRun("mkdir " + mountpoint_);
  }

  CommandResult Run(const std::string& arguments) const {
    return Shell(DaemonBinary() + " " + arguments);
  }
  std::string Places() const { return source_.path() + " " + mountpoint_; }

  TemporaryDirectory source_;
  TemporaryDirectory work_;
  const std::string mountpoint_ = work_ / "mnt";
};

TEST_F(MountLifecycleTest, HelpAndVersion) {
  for (const char* word : {"-h", "--help"}) {
    const CommandResult help = Run(word);
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_NE(help.output.find("MOUNTPOINT"), std::string::npos);
  }
  for (const char* word : {"-V", "--version"}) {
    const CommandResult version = Run(word);
    EXPECT_EQ(version.exit_code, 0);
    EXPECT_NE(version.output.find("flatcow"), std::string::npos);
  }
}

TEST_F(MountLifecycleTest, WrongUsageExitsWith1AndNamesTheOption) {
  for (const char* option :
       {"-o bogus", "-o commit=x", "-o lock=maybe", "-o cache=all",
        "-o max_threads=0", "-o umask=9", "-o allow="}) {
    const CommandResult result = Run(std::string(option) + " " + Places());
    EXPECT_EQ(result.exit_code, 1) << option << result.output;
    const std::string name =
        std::string(option).substr(3, std::string(option).find('=') - 3);
    EXPECT_NE(result.output.find(name), std::string::npos) << result.output;
  }
  EXPECT_EQ(Run("").exit_code, 1);
  EXPECT_EQ(Run(source_.path()).exit_code, 1);
}

TEST_F(MountLifecycleTest, MissingPlacesFailBeforeTheMount) {
  EXPECT_NE(Run((work_ / "nowhere") + " " + mountpoint_).exit_code, 0);
  EXPECT_NE(Run(source_.path() + " " + (work_ / "nowhere")).exit_code, 0);
}

TEST_F(MountLifecycleTest, ComesBackWhenTheMountAnswers) {
  ASSERT_EQ(Run("-o ro,noatime,nofail,x-test=1,_netdev " + Places()).exit_code,
            0);
  MustRun("cmp " + (source_ / "base") + " " + mountpoint_ + "/disk.raw");
  const std::string line =
      MustRun("grep ' " + mountpoint_ + " ' /proc/self/mounts");
  EXPECT_NE(line.find("fuse.flatcow"), std::string::npos) << line;
  EXPECT_NE(line.find("ro,"), std::string::npos) << line;
  MustRun("umount " + mountpoint_);
}

TEST_F(MountLifecycleTest, MountHelperWorks) {
  if (geteuid() != 0 || !HasProgram("mount.fuse3")) {
    GTEST_SKIP() << "needs root and mount.fuse3";
  }
  if (Shell("unshare -m --propagation private true").exit_code != 0) {
    GTEST_SKIP() << "no private mount namespace: / is not a mount point";
  }
  // mount(8) looks for helpers in the system's directories only, so flatcow
  // gets into one, in a mount namespace that ends with this command.
  MustRun(
      "unshare -m --propagation private sh -ec '"
      "mount -t tmpfs none /usr/local/sbin; "
      "ln -s " +
      DaemonBinary() +
      " /usr/local/sbin/flatcow; "
      "mount -t fuse.flatcow -o noatime,nofail " +
      Places() + "; cmp " + (source_ / "base") + " " + mountpoint_ +
      "/disk.raw; umount " + mountpoint_ + "'");
}

TEST_F(MountLifecycleTest, ASecondDaemonOnOneMountpointIsRefused) {
  Daemon daemon(source_.path(), {}, mountpoint_);
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  const CommandResult second = Run(Places());
  EXPECT_NE(second.exit_code, 0);
  EXPECT_NE(second.output.find(mountpoint_), std::string::npos)
      << second.output;
  MustRun("cmp " + (source_ / "base") + " " + daemon.File("disk.raw"));
}

TEST_F(MountLifecycleTest, EveryWayOutOfAnIdleMountIsClean) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    Daemon daemon(source_.path());
    ASSERT_TRUE(daemon.mounted()) << daemon.Log();
    daemon.Signal(signal);
    EXPECT_EQ(daemon.WaitForExit(), 0) << signal << daemon.Log();
  }
  {
    Daemon daemon(source_.path());
    ASSERT_TRUE(daemon.mounted()) << daemon.Log();
    EXPECT_EQ(daemon.Stop(), 0) << daemon.Log();
  }
  Daemon daemon(source_.path());
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  MustRun("fusermount3 -u " + daemon.mountpoint());
  EXPECT_EQ(daemon.WaitForExit(), 0) << daemon.Log();
}

TEST_F(MountLifecycleTest, SigtermServesOpenViewsUntilTheyAreClosed) {
  Daemon daemon(source_.path());
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  const int fd = open(daemon.File("disk.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  daemon.Signal(SIGTERM);
  ASSERT_TRUE(daemon.WaitForLog("disk.raw")) << daemon.Log();
  ASSERT_EQ(pwrite(fd, "still served", 12, 4096), 12);
  ASSERT_EQ(fsync(fd), 0);
  close(fd);
  EXPECT_EQ(daemon.WaitForExit(), 0) << daemon.Log();
  const auto image = OpenImage(PosixFileSystem(), source_ / "disk", {});
  ASSERT_TRUE(image.ok()) << image.status();
  uint8_t data[12];
  ASSERT_TRUE((*image)->Read(4096, absl::MakeSpan(data)).ok());
  EXPECT_EQ(std::string(data, data + 12), "still served");
}

TEST_F(MountLifecycleTest, AnAbortedConnectionIsAnEndLikeAnyOther) {
  Daemon daemon(source_.path());
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  const int fd = open(daemon.File("disk.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(pwrite(fd, "written before", 14, 4096), 14);
  struct stat root;
  ASSERT_EQ(stat(daemon.mountpoint().c_str(), &root), 0);
  const TemporaryDirectory control;
  MustRun("unshare -m sh -ec 'mount -t fusectl none " + control.path() +
          "; echo 1 > " +
          control / (std::to_string(minor(root.st_dev)) + "/abort") + "'");
  EXPECT_EQ(daemon.WaitForExit(), 0) << daemon.Log();
  close(fd);
  const auto image = OpenImage(PosixFileSystem(), source_ / "disk", {});
  ASSERT_TRUE(image.ok()) << image.status();
  uint8_t data[14];
  ASSERT_TRUE((*image)->Read(4096, absl::MakeSpan(data)).ok());
  EXPECT_EQ(std::string(data, data + 14), "written before");
}

TEST_F(MountLifecycleTest, ASecondSignalFlushesAndLeaves) {
  Daemon daemon(source_.path(), {"-o", "commit=3600"});
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  const int fd = open(daemon.File("disk.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(pwrite(fd, "unsynced", 8, 8192), 8);
  daemon.Signal(SIGTERM);
  ASSERT_TRUE(daemon.WaitForLog("disk.raw")) << daemon.Log();
  daemon.Signal(SIGTERM);
  EXPECT_EQ(daemon.WaitForExit(), 0) << daemon.Log();
  close(fd);
  const auto image = OpenImage(PosixFileSystem(), source_ / "disk", {});
  ASSERT_TRUE(image.ok()) << image.status();
  uint8_t data[8];
  ASSERT_TRUE((*image)->Read(8192, absl::MakeSpan(data)).ok());
  EXPECT_EQ(std::string(data, data + 8), "unsynced");
}

TEST_F(MountLifecycleTest, AGuestFileSystemSurvivesSigterm) {
  SKIP_WITHOUT_LOOP();
  MustRun("truncate -s 64M " + (source_ / "big"));
  MakeQed(source_ / "guest", "big", "raw");
  const std::string guest = work_ / "guest";
  auto daemon = std::make_unique<Daemon>(source_.path());
  ASSERT_TRUE(daemon->mounted()) << daemon->Log();
  {
    LoopDevice loop(daemon->File("guest.raw"));
    MustRun("mkfs.ext4 -q " + loop.path());
    GuestMount mounted(loop.path(), guest);
    MustRun("head -c 5M /dev/urandom > " + guest + "/before");
    daemon->Signal(SIGTERM);
    ASSERT_TRUE(daemon->WaitForLog("guest.raw")) << daemon->Log();
    MustRun("cp " + guest + "/before " + guest + "/after && sync -f " + guest);
    MustRun("cp " + guest + "/before " + (work_ / "expected"));
  }
  EXPECT_EQ(daemon->WaitForExit(), 0) << daemon->Log();
  daemon = std::make_unique<Daemon>(source_.path());
  ASSERT_TRUE(daemon->mounted()) << daemon->Log();
  MustRun("e2fsck -f -n " + daemon->File("guest.raw"));
  GuestMount mounted(daemon->File("guest.raw"), guest, "loop,ro");
  MustRun("cmp " + guest + "/before " + (work_ / "expected"));
  MustRun("cmp " + guest + "/after " + (work_ / "expected"));
}

TEST_F(MountLifecycleTest, TheTimerFlushesWhatNobodySynced) {
  Daemon daemon(source_.path(), {"-o", "commit=1"});
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  const int fd = open(daemon.File("disk.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(pwrite(fd, "timed", 5, 65536), 5);
  // The file itself shows the cluster once a round has run.
  const auto is_allocated = [&] {
    const auto image =
        OpenImage(PosixFileSystem(), source_ / "disk", {.lock = false});
    if (!image.ok()) return false;
    const auto segments = (*image)->Map({65536, 512});
    return segments.ok() && segments->front().depth == 0;
  };
  while (!is_allocated()) sched_yield();
  close(fd);
}

TEST_F(MountLifecycleTest, Sigusr1LogsASummary) {
  Daemon daemon(source_.path());
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  MustRun("cat " + daemon.File("disk.raw") + " > /dev/null");
  daemon.Signal(SIGUSR1);
  EXPECT_TRUE(daemon.WaitForLog("opens 1 (0 passthrough), reads ") &&
              daemon.WaitForLog("errors 0\n"))
      << daemon.Log();
}

}  // namespace
}  // namespace flatcow
