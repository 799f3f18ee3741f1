// SPDX-License-Identifier: Apache-2.0
//
// flatcow as mount(8), umount(8) and fstab(5) use it, with the real programs.
//
// mount(8) takes PATH from the environment, and the shell that mount.fuse3
// starts looks in the system's directories. So flatcow gets into one of them,
// in a mount namespace of this program.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "mount/await.h"
#include "mount/daemon.h"
#include "mount/plain_user.h"
#include "support/scoped_mount.h"

namespace flatcow {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;

constexpr char kSystemDirectory[] = "/usr/local/sbin";

std::string Quoted(const std::string& word) {
  return "'" + absl::StrReplaceAll(word, {{"'", "'\\''"}}) + "'";
}

// As fstab(5) wants it.
std::string Escaped(const std::string& word) {
  return absl::StrReplaceAll(word, {{"\\", "\\134"}, {" ", "\\040"}});
}

class MountFstabTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (!HasProgram("mount.fuse3")) GTEST_SKIP() << "needs mount.fuse3";
    installed_ =
        std::make_unique<ScopedMount>("tmpfs", kSystemDirectory, "mode=755");
    if (!installed_->mounted()) GTEST_SKIP() << installed_->why_not();
    MustRun("cp " + DaemonBinary() + " " + kSystemDirectory);
    // Other users must be able to get there.
    MustRun("chmod 0755 " + work_.path());
    MakeSource(source_);
    MustRun("mkdir " + mountpoint_);
  }

  void TearDown() override {
    for (const std::string& place : {mountpoint_, other_mountpoint_}) {
      while (umount2(place.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
      }
    }
  }

  static void MakeSource(const std::string& source) {
    MustRun("mkdir " + Quoted(source));
    MakeRawFile(source + "/base", 1, 1 << 20);
    MakeQed(source + "/disk", "base", "raw");
  }

  static std::string Line(const std::string& source,
                          const std::string& mountpoint,
                          const std::string& options) {
    return absl::StrCat(Escaped(source), " ", Escaped(mountpoint),
                        " fuse.flatcow ", options, " 0 0\n");
  }

  // Runs mount -a with this fstab.
  CommandResult MountAll(const std::string& fstab) {
    std::ofstream(work_ / "fstab") << fstab;
    return Shell("mount -a -T " + (work_ / "fstab"));
  }

  void MustMountAll(const std::string& fstab) {
    const CommandResult result = MountAll(fstab);
    EXPECT_EQ(result.exit_code, 0) << fstab << result.output;
    EXPECT_EQ(result.output, "");
  }

  CommandResult Mount(const std::string& options) {
    return Shell(absl::StrCat("mount -t fuse.flatcow ", options, " ", source_,
                              " ", mountpoint_));
  }

  void ExpectViews(const std::string& source, const std::string& mountpoint) {
    EXPECT_EQ(MustRun("ls " + Quoted(mountpoint)), "disk.raw\n");
    MustRun("cmp " + Quoted(source + "/base") + " " +
            Quoted(mountpoint + "/disk.raw"));
  }

  // Columns of findmnt, one per line.
  static std::string Find(const std::string& mountpoint,
                          const std::string& columns) {
    return Shell("findmnt -n -r -o " + columns + " --mountpoint " +
                 Quoted(mountpoint))
        .output;
  }

  static bool IsMounted(const std::string& mountpoint) {
    return Shell("mountpoint -q " + Quoted(mountpoint)).exit_code == 0;
  }

  TemporaryDirectory work_;
  const std::string source_ = work_ / "source";
  const std::string mountpoint_ = work_ / "mnt";
  const std::string other_mountpoint_ = work_ / "other, mnt";
  std::unique_ptr<ScopedMount> installed_;
};

TEST_F(MountFstabTest, MountAllShowsTheViews) {
  MustMountAll(Line(source_, mountpoint_, "defaults"));
  ExpectViews(source_, mountpoint_);
  EXPECT_EQ(Find(mountpoint_, "SOURCE,FSTYPE"), source_ + " fuse.flatcow\n");
  EXPECT_THAT(Find(mountpoint_, "OPTIONS"),
              AllOf(HasSubstr("rw,"), HasSubstr("default_permissions")));
  EXPECT_EQ(Shell("umount " + mountpoint_).output, "");
  EXPECT_FALSE(IsMounted(mountpoint_));
}

TEST_F(MountFstabTest, MountAllAgainMountsNothingTwice) {
  const std::string line = Line(source_, mountpoint_, "rw");
  MustMountAll(line);
  MustMountAll(line);
  EXPECT_EQ(Find(mountpoint_, "FSTYPE"), "fuse.flatcow\n");
  MustRun("umount " + mountpoint_);
  EXPECT_FALSE(IsMounted(mountpoint_));
}

TEST_F(MountFstabTest, WordsOfFstabAndOfSystemdAreTaken) {
  for (const char* words :
       {"x-systemd.automount,x-systemd.requires=network-online.target,nofail",
        "x-systemd.requires-mounts-for=/srv,x-systemd.idle-timeout=1min",
        "x-systemd.mount-timeout=30,x-systemd.before=a.service",
        "x-gvfs-show,x-initrd.mount,X-mount.mkdir,comment=of-mine", "_netdev",
        "nofail", "users", "user", "nouser,auto", "noatime,nodiratime,lazytime",
        "relatime,nosuid,nodev,noexec", "strictatime,sync",
        "dirsync,async,exec,suid,dev"}) {
    MustMountAll(Line(source_, mountpoint_, words));
    ExpectViews(source_, mountpoint_);
    MustRun("umount " + mountpoint_);
  }
}

TEST_F(MountFstabTest, OwnerAndGroupAreTaken) {
  if (Shell("mount -t tmpfs -o owner,group tmpfs " + mountpoint_).exit_code !=
      0) {
    GTEST_SKIP() << "this mount(8) refuses them for every file system, as that "
                    "of util-linux 2.39 does";
  }
  MustRun("umount " + mountpoint_);
  MustMountAll(Line(source_, mountpoint_, "owner,group"));
  ExpectViews(source_, mountpoint_);
}

TEST_F(MountFstabTest, UserMeansNosuidNodevNoexecForRootToo) {
  MustMountAll(Line(source_, mountpoint_, "user"));
  EXPECT_THAT(Find(mountpoint_, "OPTIONS"), HasSubstr("nosuid,nodev,noexec"));
}

TEST_F(MountFstabTest, NoautoIsLeftAlone) {
  MustMountAll(Line(source_, mountpoint_, "noauto"));
  EXPECT_FALSE(IsMounted(mountpoint_));
}

TEST_F(MountFstabTest, BlanksAndCommasAreFineEverywhere) {
  const std::string source = work_ / "a source, it's \\one";
  const std::string elsewhere = work_ / "golden, images";
  MustRun("mkdir " + Quoted(other_mountpoint_));
  MakeSource(source);
  MustRun("mkdir " + Quoted(elsewhere) + " && mv " + Quoted(source + "/base") +
          " " + Quoted(elsewhere) + " && ln -s " + Quoted(elsewhere + "/base") +
          " " + Quoted(source + "/base"));
  // A comma inside an option: in double quotes, or behind a backslash.
  for (const std::string& value :
       {"\"" + elsewhere + "\"",
        absl::StrReplaceAll(elsewhere, {{",", "\\,"}})}) {
    MustMountAll(Line(source, other_mountpoint_,
                      "allow=" + absl::StrReplaceAll(value, {{" ", "\\040"}})));
    ExpectViews(source, other_mountpoint_);
    EXPECT_EQ(Shell("findmnt -n -o SOURCE " + Quoted(other_mountpoint_)).output,
              source + "\n");
    MustRun("umount " + Quoted(other_mountpoint_));
  }
}

TEST_F(MountFstabTest, ReadOnlyIsReadOnlyBelowToo) {
  MustRun("chmod 0444 " + source_ + "/disk");
  for (const char* options : {"-o ro", "-r"}) {
    EXPECT_EQ(Mount(options).exit_code, 0);
    EXPECT_THAT(Find(mountpoint_, "OPTIONS"), HasSubstr("ro,"));
    ExpectViews(source_, mountpoint_);
    EXPECT_EQ(open((mountpoint_ + "/disk.raw").c_str(), O_RDWR), -1);
    EXPECT_EQ(errno, EROFS);
    MustRun("umount " + mountpoint_);
  }
}

TEST_F(MountFstabTest, AFailureIsSeenAndGivesAnExitCode) {
  const std::string nowhere = work_ / "nowhere";
  for (const char* options : {"defaults", "nofail"}) {
    const CommandResult all = MountAll(Line(nowhere, mountpoint_, options));
    EXPECT_EQ(all.exit_code, 32) << options;
    EXPECT_THAT(all.output, HasSubstr(nowhere + ": No such file"));
  }
  // One of two.
  const CommandResult some = MountAll(Line(nowhere, work_.path(), "nofail") +
                                      Line(source_, mountpoint_, "defaults"));
  EXPECT_EQ(some.exit_code, 64) << some.output;
  ExpectViews(source_, mountpoint_);
  MustRun("umount " + mountpoint_);

  const CommandResult option = Mount("-o bogus");
  EXPECT_EQ(option.exit_code, 1);
  EXPECT_THAT(option.output, HasSubstr("flatcow: unknown option: -o bogus"));
  MustRun("rmdir " + mountpoint_);
  const CommandResult place = Mount("");
  EXPECT_EQ(place.exit_code, 32);
  EXPECT_THAT(place.output, HasSubstr(mountpoint_));
}

TEST_F(MountFstabTest, TheCallersPathDoesNotMatter) {
  MustRun("PATH=/nowhere /bin/mount -t fuse.flatcow " + source_ + " " +
          mountpoint_);
  ExpectViews(source_, mountpoint_);
  MustRun("umount " + mountpoint_);
  MustRun(absl::StrCat("rm ", kSystemDirectory, "/flatcow"));
  const CommandResult missing = Mount("");
  EXPECT_NE(missing.exit_code, 0);
  EXPECT_THAT(missing.output, ContainsRegex("flatcow.*not found"));
}

TEST_F(MountFstabTest, ASecondMountOnOnePlaceIsRefused) {
  EXPECT_EQ(Mount("").exit_code, 0);
  const CommandResult second = Mount("");
  EXPECT_EQ(second.exit_code, 32);
  EXPECT_THAT(second.output,
              HasSubstr(mountpoint_ + ": flatcow is already mounted here"));
  ExpectViews(source_, mountpoint_);
}

TEST_F(MountFstabTest, ARemountIsRefusedInOneLine) {
  EXPECT_EQ(Mount("").exit_code, 0);
  const CommandResult result = Shell("mount -o remount,ro " + mountpoint_);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output,
              HasSubstr("-o remount: options of a mount can't be changed"));
  ExpectViews(source_, mountpoint_);
  // The kernel alone can do it.
  MustRun("mount -i -o remount,bind,ro " + mountpoint_);
  ExpectViews(source_, mountpoint_);
  EXPECT_EQ(open((mountpoint_ + "/disk.raw").c_str(), O_RDWR), -1);
  EXPECT_EQ(errno, EROFS);
}

TEST_F(MountFstabTest, UmountOfABusyMountIsRefusedAndALazyOneServesOn) {
  EXPECT_EQ(Mount("").exit_code, 0);
  const int fd = open((mountpoint_ + "/disk.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const CommandResult busy = Shell("umount " + mountpoint_);
  EXPECT_EQ(busy.exit_code, 32);
  EXPECT_THAT(busy.output, HasSubstr("busy"));
  ExpectViews(source_, mountpoint_);
  MustRun("umount -l " + mountpoint_);
  EXPECT_FALSE(IsMounted(mountpoint_));
  EXPECT_EQ(pwrite(fd, "still served", 12, 4096), 12);
  EXPECT_EQ(fsync(fd), 0);
  close(fd);
  // What was written is there when it is mounted again, and the daemon before
  // has let go of it.
  EXPECT_EQ(Mount("").exit_code, 0);
  CommandResult read;
  Await([&] {
    read = Shell("dd status=none bs=1 skip=4096 count=12 if=" + mountpoint_ +
                 "/disk.raw");
    return read.exit_code == 0;
  });
  EXPECT_EQ(read.output, "still served");
}

// ---- Users

class MountFstabUserTest : public MountFstabTest {
 protected:
  void SetUp() override {
    MountFstabTest::SetUp();
    if (IsSkipped()) return;
    AdmitUsers(work_ / "admit");
    if (IsSkipped()) return;
    MustRun("chown -R 65534:65534 " + source_ + " " + mountpoint_);
  }

  // Only in /etc/fstab does mount(8) look for a plain user.
  void WriteFstab(const std::string& options) {
    std::ofstream(work_ / "fstab") << Line(source_, mountpoint_, options);
    fstab_ = std::make_unique<BoundFile>(work_ / "fstab", "/etc/fstab");
  }

  static CommandResult AsNobody(const std::string& command) {
    return Shell(absl::StrCat(kAsNobody, " ", command));
  }

  std::unique_ptr<BoundFile> fstab_;
};

TEST_F(MountFstabUserTest, APlainUserMountsAndUnmountsALineThatAllowsIt) {
  for (const char* options : {"user,noauto", "users,noauto"}) {
    WriteFstab(options);
    const CommandResult mounted = AsNobody("mount " + mountpoint_);
    ASSERT_EQ(mounted.exit_code, 0) << mounted.output;
    EXPECT_THAT(
        Find(mountpoint_, "OPTIONS"),
        AllOf(HasSubstr("nosuid,nodev,noexec"), HasSubstr("user_id=65534")));
    EXPECT_EQ(AsNobody("ls " + mountpoint_).output, "disk.raw\n");
    const CommandResult unmounted = AsNobody("umount " + mountpoint_);
    EXPECT_EQ(unmounted.exit_code, 0) << unmounted.output;
    EXPECT_FALSE(IsMounted(mountpoint_));
    fstab_.reset();
  }
}

TEST_F(MountFstabUserTest, APlainUserNeedsNoLine) {
  const CommandResult mounted =
      AsNobody("mount -t fuse.flatcow " + source_ + " " + mountpoint_);
  ASSERT_EQ(mounted.exit_code, 0) << mounted.output;
  EXPECT_THAT(Find(mountpoint_, "OPTIONS"), HasSubstr("user_id=65534"));
  EXPECT_EQ(AsNobody("ls " + mountpoint_).output, "disk.raw\n");
  EXPECT_EQ(AsNobody("umount " + mountpoint_).exit_code, 0);
  EXPECT_FALSE(IsMounted(mountpoint_));
}

TEST_F(MountFstabUserTest, SetuidMountsAsThatUser) {
  if (Shell("id nobody").exit_code != 0) GTEST_SKIP() << "needs a user nobody";
  MustMountAll(Line(source_, mountpoint_, "setuid=nobody"));
  EXPECT_THAT(Find(mountpoint_, "OPTIONS"), HasSubstr("user_id=65534"));
  EXPECT_EQ(AsNobody("ls " + mountpoint_).output, "disk.raw\n");
  // Root has no business there.
  EXPECT_NE(Shell("ls " + mountpoint_).exit_code, 0);
}

}  // namespace
}  // namespace flatcow
