// SPDX-License-Identifier: Apache-2.0
//
// A plain user's mount of his own directory: all of it works, without root.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "mount/daemon.h"
#include "mount/plain_user.h"

namespace flatcow {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class MountUserTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
    AdmitUsers(work_ / "admit");
    if (IsSkipped()) return;
    MustRun("chmod 0755 " + work_.path());
    MustRun("mkdir " + source_ + " " + mountpoint_);
    MakeRawFile(source_ + "/base", 1, 1 << 20);
    MakeQed(source_ + "/disk", "base", "raw");
    MakeAddCow(source_ + "/flat", "", "flat.data", 1 << 20);
    MustRun("chown -R 65534:65534 " + source_ + " " + mountpoint_);
    MustRun("chmod 0700 " + source_);
  }

  void TearDown() override {
    umount2(mountpoint_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
  }

  // Forbids what AdmitUsers() has permitted.
  void ForbidOthers() {
    MustRun("echo '#user_allow_other' > " + (work_ / "fuse.conf"));
    forbidden_ =
        std::make_unique<BoundFile>(work_ / "fuse.conf", "/etc/fuse.conf");
  }

  static CommandResult AsNobody(const std::string& command) {
    return Shell(absl::StrCat(kAsNobody, " sh -ec '", command, "'"));
  }
  // Not by a shell of his: he need not be able to reach the program, which may
  // be below a home directory.
  CommandResult Mount(const std::string& options) {
    return Shell(absl::StrCat(kAsNobody, " ", DaemonBinary(), " ", options, " ",
                              source_, " ", mountpoint_));
  }
  static void ExpectWorks(const std::string& command) {
    const CommandResult result = AsNobody(command);
    EXPECT_EQ(result.exit_code, 0) << command << "\n" << result.output;
  }

  TemporaryDirectory work_;
  const std::string source_ = work_ / "source";
  const std::string mountpoint_ = work_ / "mnt";
  std::unique_ptr<BoundFile> forbidden_;
};

TEST_F(MountUserTest, ReadsWritesAndUnmounts) {
  const CommandResult mounted = Mount("");
  ASSERT_EQ(mounted.exit_code, 0) << mounted.output;
  EXPECT_EQ(mounted.output, "");
  ExpectWorks("cmp " + source_ + "/base " + mountpoint_ + "/disk.raw");
  for (const char* view : {"disk.raw", "flat.raw"}) {
    const std::string file = mountpoint_ + "/" + view;
    ExpectWorks("head -c 65536 /dev/zero | tr \"\\0\" u | dd of=" + file +
                " conv=notrunc,fsync bs=64k seek=1 status=none");
    ExpectWorks("dd if=" + file +
                " iflag=direct bs=64k skip=1 count=1 "
                "status=none | tr -d u | cmp - /dev/null");
    ExpectWorks("fallocate -p -o 0 -l 65536 " + file);
    ExpectWorks("truncate -s 2M " + file);
    ExpectWorks("flock -n " + file + " true");
    ExpectWorks("getfattr -d -m user.flatcow " + file + " || true");
  }
  ExpectWorks("fusermount3 -u " + mountpoint_);
  EXPECT_EQ(Shell("mountpoint -q " + mountpoint_).exit_code, 32);
}

TEST_F(MountUserTest, EveryOptionButThoseForOthersIsTheUsers) {
  ForbidOthers();
  for (const char* option :
       {"ro", "uid=65534", "gid=65534", "umask=077", "lock=off", "shrink",
        "cache=none", "passthrough=off", "metadata_cache=1M", "max_threads=1",
        "commit=1", "auto_unmount", "fsname=mine", "noatime,nosuid,nodev",
        "noexec,sync,dirsync"}) {
    const CommandResult mounted = Mount(absl::StrCat("-o ", option));
    EXPECT_EQ(mounted.exit_code, 0) << option << mounted.output;
    EXPECT_EQ(mounted.output, "") << option;
    ExpectWorks("cmp " + source_ + "/base " + mountpoint_ + "/disk.raw");
    ExpectWorks("fusermount3 -u " + mountpoint_);
  }
  EXPECT_EQ(Mount("-o allow=" + work_.path()).exit_code, 0);
  ExpectWorks("fusermount3 -u " + mountpoint_);
}

TEST_F(MountUserTest, NobodyElseComesInNotEvenRoot) {
  ASSERT_EQ(Mount("").exit_code, 0);
  EXPECT_EQ(access((mountpoint_ + "/disk.raw").c_str(), F_OK), -1);
  EXPECT_EQ(errno, EACCES);
  EXPECT_NE(Shell("setpriv --reuid=65533 --regid=65533 --clear-groups ls " +
                  mountpoint_)
                .exit_code,
            0);
}

TEST_F(MountUserTest, AllowOtherIsRefusedInOneLineThatSaysWhatToDo) {
  ForbidOthers();
  for (const char* option : {"allow_other", "allow_root"}) {
    const CommandResult refused = Mount(absl::StrCat("-o ", option));
    EXPECT_EQ(refused.exit_code, 32) << refused.output;
    EXPECT_THAT(refused.output,
                AllOf(HasSubstr(option), HasSubstr("user_allow_other"),
                      HasSubstr("/etc/fuse.conf")));
    // One line says it, and none is about something else.
    EXPECT_EQ(std::vector<std::string>(
                  absl::StrSplit(refused.output, '\n', absl::SkipEmpty()))
                  .size(),
              1u)
        << refused.output;
    EXPECT_EQ(Shell("mountpoint -q " + mountpoint_).exit_code, 32);
  }
}

TEST_F(MountUserTest, AllowOtherLetsOthersInWhereItIsPermitted) {
  ASSERT_EQ(Mount("-o allow_other").exit_code, 0);
  MustRun("cmp " + source_ + "/base " + mountpoint_ + "/disk.raw");
}

TEST_F(MountUserTest, WhatHeCannotReadIsOneClearLine) {
  MustRun("chown root:root " + source_ + "/disk && chmod 0600 " + source_ +
          "/disk");
  const ThroughProgram nobody(kAsNobody);
  Daemon daemon(source_, {"-o", "allow_other"}, mountpoint_);
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  // The others are served.
  EXPECT_EQ(
      AsNobody("cat " + daemon.File("flat.raw") + " >/dev/null").exit_code, 0);
  EXPECT_NE(AsNobody("cat " + daemon.File("disk.raw")).exit_code, 0);
  std::vector<std::string> lines;
  const std::string log = daemon.Log();
  for (const absl::string_view line : absl::StrSplit(log, '\n')) {
    if (absl::StrContains(line, "disk")) lines.emplace_back(line);
  }
  ASSERT_EQ(lines.size(), 1u) << daemon.Log();
  EXPECT_THAT(lines[0], HasSubstr("Permission denied"));
}

TEST_F(MountUserTest, ASourceHeCannotReadIsOneClearLine) {
  MustRun("chown root:root " + source_);
  const CommandResult refused = Mount("");
  EXPECT_EQ(refused.exit_code, 2) << refused.output;
  EXPECT_THAT(refused.output,
              AllOf(HasSubstr(source_), HasSubstr("Permission denied")));
}

TEST_F(MountUserTest, AMountPointOfAnothersIsRefused) {
  MustRun("chown root:root " + mountpoint_);
  const CommandResult refused = Mount("");
  EXPECT_EQ(refused.exit_code, 32) << refused.output;
  EXPECT_THAT(refused.output, HasSubstr(mountpoint_));
}

}  // namespace
}  // namespace flatcow
