// SPDX-License-Identifier: Apache-2.0
//
// What people do with a disk, done to views: a guest file system through a loop
// device, and the programs that copy, measure and punch files. What a view does
// is compared with what a raw file does.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "mount/daemon.h"
#include "mount/loop_device.h"

namespace flatcow {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// A QED and an add-cow overlay on one base, as the issue of every day.
class GuestTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string why_not;
    if (!CanMount(&why_not)) GTEST_SKIP() << why_not;
  }

  void MakeOverlay(uint64_t size, bool with_base) {
    if (with_base)
      MustRun("truncate -s " + std::to_string(size) + " " + base());
    const std::string backing = with_base ? "base.img" : "";
    if (GetParam() == "qed") {
      MakeQed(source_ / "disk", backing, with_base ? "raw" : "", size);
    } else {
      MakeAddCow(source_ / "disk", backing, "disk.image", size);
    }
  }

  void Start(std::vector<std::string> options = {}) {
    daemon_ = std::make_unique<Daemon>(source_.path(), std::move(options));
    ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
    view_ = daemon_->File("disk.raw");
  }

  std::string base() const { return source_ / "base.img"; }
  std::string work(const std::string& name) const { return work_ / name; }

  // Bytes that the overlay's own files occupy on the host.
  uint64_t HostBytes() const {
    uint64_t sum = 0;
    for (const char* name : {"disk", "disk.image"}) {
      struct stat stat;
      if (::stat((source_ / name).c_str(), &stat) == 0) {
        sum += static_cast<uint64_t>(stat.st_blocks) * 512;
      }
    }
    return sum;
  }

  TemporaryDirectory source_;
  TemporaryDirectory work_;
  std::unique_ptr<Daemon> daemon_;
  std::string view_;
};

TEST_P(GuestTest, Ext4OnALoopDeviceIsWholeAfterUse) {
  SKIP_WITHOUT_LOOP();
  MakeOverlay(256 * kMiB, /*with_base=*/true);
  MustRun("mkfs.ext4 -q -F " + base());
  MustRun("cksum < " + base() + " > " + work("base.sum"));
  Start();
  const std::string tree = "/usr/include";
  const std::string guest = work("guest");
  {
    GuestMount mounted(view_, guest, "loop");
    MustRun("cp -a " + tree + " " + guest + "/tree && sync -f " + guest);
    MustRun("rm -r " + guest + "/tree/linux && cp -a " + tree + "/linux " +
            guest + "/tree/");
  }
  MustRun("e2fsck -f -n " + view_);
  {
    GuestMount mounted(view_, guest, "loop,ro");
    MustRun("diff -r --no-dereference " + tree + " " + guest + "/tree");
  }
  EXPECT_EQ(daemon_->Stop(), 0);
  MustRun("cksum < " + base() + " | cmp - " + work("base.sum"));
  // The image is the same disk when it is mounted anew.
  Start();
  MustRun("e2fsck -f -n " + view_);
}

TEST_P(GuestTest, MkfsOnAViewAndLosetupWithDirectIo) {
  SKIP_WITHOUT_LOOP();
  MakeOverlay(64 * kMiB, /*with_base=*/false);
  Start();
  LoopDevice loop(view_);
  MustRun("mkfs.ext4 -q " + loop.path());
  {
    GuestMount mounted(loop.path(), work("guest"));
    MustRun("head -c 5000000 /dev/urandom > " + work("guest/file"));
    MustRun("cp " + work("guest/file") + " " + work("copy"));
  }
  MustRun("e2fsck -f -n " + loop.path());
  GuestMount mounted(loop.path(), work("guest"));
  MustRun("cmp " + work("guest/file") + " " + work("copy"));
}

TEST_P(GuestTest, FstrimGivesHostSpaceBack) {
  SKIP_WITHOUT_LOOP();
  MakeOverlay(128 * kMiB, /*with_base=*/false);
  Start();
  LoopDevice loop(view_);
  MustRun("mkfs.ext4 -q " + loop.path());
  GuestMount mounted(loop.path(), work("guest"));
  MustRun("head -c 40M /dev/urandom > " + work("guest/file") + "; sync -f " +
          work("guest"));
  const uint64_t full = HostBytes();
  EXPECT_GT(full, 40 * kMiB);
  MustRun("rm " + work("guest/file") + "; sync -f " + work("guest") +
          "; fstrim " + work("guest"));
  EXPECT_LT(HostBytes(), full - 30 * kMiB);
}

TEST_P(GuestTest, DdReadsWhatDdWrote) {
  MakeOverlay(8 * kMiB, /*with_base=*/true);
  Start();
  MakeRawFile(work("data"), 7, 3 * kMiB);
  MustRun("dd if=" + work("data") + " of=" + view_ +
          " bs=64k seek=16 conv=notrunc,fsync status=none");
  MustRun("dd if=" + view_ + " of=" + work("back") +
          " bs=4k skip=256 count=768 iflag=direct status=none");
  MustRun("cmp " + work("data") + " " + work("back"));
}

TEST_P(GuestTest, SparseCopiesKeepHoles) {
  MakeOverlay(64 * kMiB, /*with_base=*/true);
  Start();
  MakeRawFile(work("data"), 7, kMiB);
  for (const char* seek : {"0", "20", "63"}) {
    MustRun("dd if=" + work("data") + " of=" + view_ + " bs=1M seek=" + seek +
            " conv=notrunc status=none");
  }
  MustRun("sync " + view_);
  // What is found by SEEK_HOLE, and by the block count.
  MustRun("cp --sparse=auto " + view_ + " " + work("copy"));
  MustRun("cmp " + view_ + " " + work("copy"));
  struct stat copy;
  ASSERT_EQ(stat(work("copy").c_str(), &copy), 0);
  EXPECT_LT(static_cast<uint64_t>(copy.st_blocks) * 512, 8 * kMiB);
  MustRun("cd " + daemon_->mountpoint() + " && tar -S -cf " + work("disk.tar") +
          " disk.raw && cd " + work_.path() + " && tar xf " + work("disk.tar"));
  MustRun("cmp " + view_ + " " + work("disk.raw"));
  struct stat archive;
  ASSERT_EQ(stat(work("disk.tar").c_str(), &archive), 0);
  EXPECT_LT(archive.st_size, static_cast<off_t>(8 * kMiB));
  const std::string used = MustRun("du -k " + view_ + " | cut -f1");
  EXPECT_GE(std::stoul(used), 3 * 1024u);
  EXPECT_LT(std::stoul(used), 8 * 1024u);
}

TEST_P(GuestTest, FallocatePunchesExactlyWhatWasAskedFor) {
  MakeOverlay(4 * kMiB, /*with_base=*/true);
  MakeRawFile(base(), 1, 4 * kMiB);
  Start();
  MustRun("cp " + base() + " " + work("raw"));
  // Within a cluster, across clusters, whole clusters; over base and own data.
  MustRun("dd if=/dev/urandom of=" + work("noise") +
          " bs=100k count=1 "
          "status=none");
  for (const std::string& file : {view_, work("raw")}) {
    MustRun("dd if=" + work("noise") + " of=" + file +
            " bs=1 seek=1000000 conv=notrunc status=none oflag=seek_bytes");
    MustRun("fallocate -p -o 100 -l 1000 " + file);
    MustRun("fallocate -p -o 65000 -l 200000 " + file);
    MustRun("fallocate -p -o 1048576 -l 131072 " + file);
    MustRun("fallocate -z -o 3000000 -l 77777 " + file);
    MustRun("fallocate -n -l 500000 -o 2000000 " + file);
  }
  MustRun("cmp " + view_ + " " + work("raw"));
}

TEST_P(GuestTest, TruncatingOpensAreRefusedAndExplained) {
  MakeOverlay(kMiB, /*with_base=*/true);
  MakeRawFile(base(), 1, kMiB);
  Start();
  EXPECT_NE(Shell("echo x > " + view_).exit_code, 0);
  EXPECT_NE(Shell("dd if=/dev/zero of=" + view_ + " bs=1 count=1").exit_code,
            0);
  EXPECT_NE(Shell("cp /etc/passwd " + view_).exit_code, 0);
  EXPECT_EQ(open(view_.c_str(), O_RDWR | O_TRUNC), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(truncate(view_.c_str(), 512), -1);
  EXPECT_EQ(errno, EPERM);
  MustRun("cmp " + view_ + " " + base());
  EXPECT_TRUE(daemon_->WaitForLog("conv=notrunc")) << daemon_->Log();
  EXPECT_TRUE(daemon_->WaitForLog("flatcow-img convert")) << daemon_->Log();
}

TEST_P(GuestTest, WritesAtTheEndAnswerAsABlockDevice) {
  MakeOverlay(kMiB, /*with_base=*/true);
  Start();
  for (const int flags : {O_RDWR, O_RDWR | O_DIRECT}) {
    const int fd = open(view_.c_str(), flags | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    alignas(4096) static char data[8192];
    EXPECT_EQ(pwrite(fd, data, 4096, kMiB), -1);
    EXPECT_EQ(errno, ENOSPC);
    EXPECT_EQ(pwrite(fd, data, 8192, kMiB - 4096), 4096);
    EXPECT_EQ(fallocate(fd, 0, kMiB - 4096, 8192), -1);
    EXPECT_EQ(errno, EFBIG);
    struct stat stat;
    ASSERT_EQ(fstat(fd, &stat), 0);
    EXPECT_EQ(stat.st_size, static_cast<off_t>(kMiB));
    close(fd);
  }
}

TEST_P(GuestTest, GrowingAddsZeroes) {
  MakeOverlay(kMiB, /*with_base=*/true);
  MakeRawFile(base(), 1, 3 * kMiB);
  Start();
  MustRun("truncate -s 2M " + view_);
  struct stat stat;
  ASSERT_EQ(::stat(view_.c_str(), &stat), 0);
  EXPECT_EQ(stat.st_size, static_cast<off_t>(2 * kMiB));
  MustRun("cmp -n 1048576 " + view_ + " " + base());
  MustRun("cmp -i 1048576:0 -n 1048576 " + view_ + " /dev/zero");
}

TEST_P(GuestTest, ShrinkingIsDoneWhereItWasAskedFor) {
  MakeOverlay(kMiB, /*with_base=*/true);
  MakeRawFile(base(), 1, kMiB);
  Start({"-o", "shrink"});
  MustRun("dd if=/dev/urandom of=" + work("data") + " bs=300k count=1");
  MustRun("dd if=" + work("data") + " of=" + view_ +
          " bs=300k seek=1 conv=notrunc,fsync");
  MustRun("cp " + view_ + " " + work("before"));
  const int fd = open(view_.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(ftruncate(fd, 500 << 10), 0);
  char byte = 0;
  EXPECT_EQ(pread(fd, &byte, 1, 500 << 10), 0);
  EXPECT_EQ(pwrite(fd, &byte, 1, 500 << 10), -1);
  EXPECT_EQ(errno, ENOSPC);
  struct stat stat;
  ASSERT_EQ(fstat(fd, &stat), 0);
  EXPECT_EQ(stat.st_size, off_t{500 << 10});
  MustRun("cmp -n 512000 " + view_ + " " + work("before"));
  ASSERT_EQ(ftruncate(fd, kMiB), 0);
  close(fd);
  MustRun("cmp -n 512000 " + view_ + " " + work("before"));
  MustRun("cmp -i 512000:0 -n 536576 " + view_ + " /dev/zero");
}

INSTANTIATE_TEST_SUITE_P(Formats, GuestTest, testing::Values("qed", "addcow"),
                         [](const testing::TestParamInfo<std::string>& format) {
                           return format.param;
                         });

}  // namespace
}  // namespace flatcow
