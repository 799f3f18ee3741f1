// SPDX-License-Identifier: Apache-2.0
//
// A disk below that takes writes into the page cache and then can't keep them,
// as Linux has it: the sync fails, and the next one would find clean pages.
//
// The disk is a loop device on a file of a tmpfs that runs full.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "flatcow/image.h"
#include "flatcow/status.h"
#include "model/image_testing.h"
#include "mount/daemon.h"
#include "mount/loop_device.h"
#include "support/scoped_mount.h"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

constexpr uint64_t kDisk = 16 << 20;
constexpr uint64_t kKept = 1 << 20;
constexpr uint64_t kLost = 8 << 20;

class FailedSyncTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    MustRun("mkdir " + tmpfs() + " " + images());
    tmpfs_ = std::make_unique<ScopedMount>("tmpfs", tmpfs(), "size=20m");
    if (!tmpfs_->mounted()) GTEST_SKIP() << tmpfs_->why_not();
    SKIP_WITHOUT_LOOP();
    MustRun("truncate -s 64M " + disk() +
            " && mkfs.ext4 -q -F -O ^has_journal " + disk());
    loop_ = std::make_unique<LoopDevice>(disk(), "");
    MustRun("mount " + loop_->path() + " " + images());
    MakeImage();
  }

  void TearDown() override {
    image_.reset();
    if (loop_ != nullptr) MustRun("umount " + images());
  }

  // Space for all of it is reserved, so that ext4 takes every write.
  void MakeImage() {
    if (GetParam() == "qed") {
      MakeQed(path(), "", "", kDisk);
    } else {
      MakeAddCow(path(), "", "data", kDisk);
    }
    Open();
    Must(image_->Allocate({0, kDisk}));
    WriteDisk(*image_, 0, PatternText(1, kKept));
    Must(image_->Flush());
  }

  void Open() {
    image_.reset();
    image_ = Must(OpenImage(PosixFileSystem(), path(), Writable()));
  }

  void FillTmpfs() {
    MustRun("dd if=/dev/zero of=" + tmpfs() +
            "/filler bs=64k status=none 2>/dev/null; true");
  }

  // Of the files that the image is made of.
  void DropCaches() {
    for (const std::string& file : image_->ChainPaths()) {
      const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
      EXPECT_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0) << file;
      close(fd);
    }
  }

  std::string tmpfs() const { return work_ / "tmpfs"; }
  std::string images() const { return work_ / "images"; }
  std::string disk() const { return tmpfs() + "/disk"; }
  std::string path() const { return images() + "/image"; }

  TemporaryDirectory work_;
  std::unique_ptr<ScopedMount> tmpfs_;
  std::unique_ptr<LoopDevice> loop_;
  std::unique_ptr<Image> image_;
};

TEST_P(FailedSyncTest, ReadsTellWhatTheDiskHoldsAndNoLaterSyncPretends) {
  FillTmpfs();
  WriteDisk(*image_, kDisk - kLost, PatternText(2, kLost));
  ASSERT_NE(ErrnoOf(image_->Flush()), 0);
  EXPECT_TRUE(Fails(image_->Flush(), EIO, "image"));
  MustRun("rm " + tmpfs() + "/filler");
  EXPECT_TRUE(Fails(image_->Flush(), EIO, "image"));
  EXPECT_EQ(ReadDisk(*image_, {0, kKept}), PatternText(1, kKept));
  // Not a byte of what was lost comes out of the page cache.
  const std::string cached = ReadDisk(*image_, {kDisk - kLost, kLost});
  DropCaches();
  const std::string held = ReadDisk(*image_, {kDisk - kLost, kLost});
  EXPECT_TRUE(cached == held);
  EXPECT_FALSE(held == PatternText(2, kLost));
}

INSTANTIATE_TEST_SUITE_P(Formats, FailedSyncTest,
                         testing::Values("qed", "addcow"),
                         [](const auto& format) { return format.param; });

}  // namespace
}  // namespace flatcow
