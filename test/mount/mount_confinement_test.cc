// SPDX-License-Identifier: Apache-2.0
//
// What an image names, and what the daemon will open for it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "mount/daemon.h"
#include "mount/open_errno.h"

namespace flatcow {
namespace {

class MountConfinementTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    MustRun("mkdir " + source());
    MakeRawFile(source() + "/base", 1, 65536);
    MakeRawFile(root_ / "outside", 2, 65536);
    MakeQed(source() + "/good", "base", "raw");
  }

  std::string source() const { return root_ / "source"; }

  // Opening the view gives EACCES and a line with `remedy`; siblings go on.
  void ExpectConfined(const std::string& image, const std::string& remedy) {
    Daemon daemon(source());
    ASSERT_TRUE(daemon.mounted()) << daemon.Log();
    EXPECT_EQ(OpenErrno(daemon.File(image + ".raw")), EACCES);
    EXPECT_TRUE(daemon.WaitForLog(remedy)) << daemon.Log();
    MustRun("cmp " + source() + "/base " + daemon.File("good.raw"));
  }

  TemporaryDirectory root_;
};

TEST_F(MountConfinementTest, AbsoluteNameOutside) {
  MakeUnchecked(source() + "/disk", "/etc/hostname");
  ExpectConfined("disk", "allow=/etc");
}

TEST_F(MountConfinementTest, RelativeNameOutside) {
  MakeUnchecked(source() + "/disk", "../outside");
  ExpectConfined("disk", "allow=" + root_.path());
}

TEST_F(MountConfinementTest, LinksThatLeadOutside) {
  MustRun("ln -s /etc/hostname " + source() + "/absolute");
  MustRun("ln -s ../outside " + source() + "/relative");
  MakeUnchecked(source() + "/disk1", "absolute");
  MakeUnchecked(source() + "/disk2", "relative");
  ExpectConfined("disk1", "allow=/etc");
  ExpectConfined("disk2", "allow=" + root_.path());
}

TEST_F(MountConfinementTest, AFifoIsNeverOpened) {
  MustRun("mkfifo " + source() + "/fifo");
  MakeUnchecked(source() + "/disk", "fifo");
  ExpectConfined("disk", "FIFO");
}

TEST_F(MountConfinementTest, AnImageFileOutside) {
  MustRun("truncate -s 65536 " + (root_ / "image"));
  MakeAddCow(source() + "/disk", "base", "../image");
  ExpectConfined("disk", "allow=" + root_.path());
}

TEST_F(MountConfinementTest, WhatLiesInsideAfterAllIsFine) {
  MustRun("mkdir " + source() + "/sub && ln -s " + source() + "/base " +
          source() + "/sub/link");
  MakeUnchecked(source() + "/disk1", source() + "/base");
  MakeUnchecked(source() + "/sub/disk2", "link");
  MakeUnchecked(source() + "/sub/disk3", "../../source/base");
  Daemon daemon(source());
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  for (const char* view : {"disk1.raw", "sub/disk2.raw", "sub/disk3.raw"}) {
    MustRun("cmp " + source() + "/base " + daemon.File(view));
  }
}

TEST_F(MountConfinementTest, AllowOpensTheDoor) {
  MustRun("mkdir " + (root_ / "golden") + " && mv " + (root_ / "outside") +
          " " + (root_ / "golden/base"));
  MakeUnchecked(source() + "/disk", "../golden/base");
  MakeUnchecked(source() + "/closed", "/etc/hostname");
  Daemon daemon(source(), {"-o", "allow=" + (root_ / "golden")});
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  MustRun("cmp " + (root_ / "golden/base") + " " + daemon.File("disk.raw"));
  EXPECT_EQ(OpenErrno(daemon.File("closed.raw")), EACCES);
}

// All workers at once try to open a view whose base is a view of the mount they
// serve: each would wait for another, for ever.
TEST_F(MountConfinementTest, TheMountItselfIsRefusedWithAllWorkersBusy) {
  const std::string mountpoint = source() + "/mnt";
  MustRun("mkdir " + mountpoint);
  constexpr int kImages = 12;
  for (int i = 0; i < kImages; ++i) {
    MakeUnchecked(source() + "/loop" + std::to_string(i), "mnt/good.raw");
  }
  MustRun("ln -s mnt/good.raw " + source() + "/link");
  MakeUnchecked(source() + "/bylink", "link");
  Daemon daemon(source(), {"-o", "max_threads=2"}, mountpoint);
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  std::vector<std::thread> threads;
  for (int i = 0; i < kImages; ++i) {
    threads.emplace_back([&, i] {
      EXPECT_EQ(OpenErrno(daemon.File("loop" + std::to_string(i) + ".raw")),
                ELOOP);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(OpenErrno(daemon.File("bylink.raw")), ELOOP);
  MustRun("cmp " + source() + "/base " + daemon.File("good.raw"));
}

TEST_F(MountConfinementTest, AnotherUserHasNoMoreRightsThanTheModeGives) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  MustRun("chmod 0755 " + root_.path() + " && chmod 0600 " + source() +
          "/good");
  MakeQed(source() + "/open", "base", "raw");
  MustRun("chmod 0644 " + source() + "/open");
  Daemon daemon(source(), {"-o", "allow_other"});
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  const auto as_nobody = [](const std::string& command) {
    return Shell("setpriv --reuid=65534 --regid=65534 --clear-groups " +
                 command);
  };
  const CommandResult refused =
      as_nobody("head -c 1 " + daemon.File("good.raw"));
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_NE(refused.output.find("Permission denied"), std::string::npos)
      << refused.output;
  EXPECT_EQ(as_nobody("cmp " + source() + "/base " + daemon.File("open.raw"))
                .exit_code,
            0);
  EXPECT_NE(as_nobody("dd if=/dev/zero conv=notrunc count=1 of=" +
                      daemon.File("open.raw"))
                .exit_code,
            0);
}

TEST_F(MountConfinementTest, WithoutAllowOtherNobodyElseComesIn) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  MustRun("chmod 0755 " + root_.path());
  Daemon daemon(source());
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  EXPECT_NE(Shell("setpriv --reuid=65534 --regid=65534 --clear-groups ls " +
                  daemon.mountpoint())
                .exit_code,
            0);
}

}  // namespace
}  // namespace flatcow
