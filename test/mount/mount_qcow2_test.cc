// SPDX-License-Identifier: Apache-2.0
//
// Views of qcow2 images, and of overlays over them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "mount/daemon.h"
#include "mount/open_errno.h"

namespace flatcow {
namespace {

// golden.qcow2, compressed, shows the same as the file disk, which is not in
// SOURCE.
class MountQcow2Test : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    if (!HasProgram("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
    MakeRawFile(disk_, 1, 4 << 20);
    InSource("qemu-img convert -c -O qcow2 " + disk_ + " golden.qcow2");
  }

  std::string InSource(const std::string& command) {
    return MustRun("cd " + source_.path() + " && " + command);
  }

  void Start() {
    daemon_ = std::make_unique<Daemon>(source_.path());
    ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
  }

  std::string Views() { return MustRun("ls " + daemon_->mountpoint()); }

  // Writes the same to a view and to a plain file.
  void WriteBoth(const std::string& view, const std::string& model) {
    for (const std::string& file : {daemon_->File(view), model}) {
      MustRun("head -c 100000 " + disk_ +
              " | tr '\\0-\\377' 'A-Za-z\\0-\\313'" + " | dd of=" + file +
              " bs=70000 seek=3 conv=notrunc,fsync iflag=fullblock "
              "status=none");
    }
  }

  // The errno of opening for writing; the kernel stops who is not root.
  static int Refusal() { return geteuid() == 0 ? EROFS : EACCES; }

  TemporaryDirectory source_;
  TemporaryDirectory work_;
  const std::string disk_ = work_ / "disk";
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(MountQcow2Test, OverlaysOfACompressedImageAreReadAndWritten) {
  InSource("qemu-img create -q -f qed -b golden.qcow2 -F qcow2 over.qed");
  InSource(ToolBinary() +
           " create -q -f add-cow -b golden.qcow2 -F qcow2 -o image_file=image "
           "over.add-cow");
  InSource("cksum < golden.qcow2 > " + (work_ / "sum"));
  Start();
  EXPECT_EQ(Views(), "golden.qcow2.raw\nover.add-cow.raw\nover.qed.raw\n");
  for (const std::string view : {"over.qed.raw", "over.add-cow.raw"}) {
    MustRun("cmp " + disk_ + " " + daemon_->File(view));
    const std::string model = work_ / view;
    MustRun("cp " + disk_ + " " + model);
    WriteBoth(view, model);
    MustRun("cmp " + model + " " + daemon_->File(view));
    EXPECT_NE(Shell("cmp -s " + model + " " + disk_).exit_code, 0);
  }
  MustRun("cmp " + disk_ + " " + daemon_->File("golden.qcow2.raw"));
  // Looks for holes.
  for (const std::string view : {"golden.qcow2.raw", "over.qed.raw"}) {
    MustRun("cp " + daemon_->File(view) + " " + (work_ / "copy") + " && cmp " +
            (work_ / "copy") + " " + daemon_->File(view));
  }
  EXPECT_EQ(daemon_->Stop(), 0);
  InSource("cksum < golden.qcow2 | cmp - " + (work_ / "sum"));
  MustRun("cd " + source_.path() + " && qemu-img compare -F raw over.qed " +
          (work_ / "over.qed.raw"));
}

TEST_F(MountQcow2Test, AnImageThatCanOnlyBeReadIsAReadOnlyView) {
  InSource("qemu-img create -q -f qed -b golden.qcow2 -F qcow2 over.qed");
  Start();
  const std::string view = daemon_->File("golden.qcow2.raw");
  struct stat stat;
  ASSERT_EQ(::stat(view.c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 0222, 0u);
  EXPECT_NE(stat.st_mode & 0400, 0u);
  EXPECT_EQ(stat.st_size, 4 << 20);
  EXPECT_EQ(OpenErrno(view, O_RDONLY), 0);
  EXPECT_EQ(OpenErrno(view, O_RDWR), Refusal());
  EXPECT_EQ(truncate(view.c_str(), 8 << 20), -1);
  EXPECT_EQ(errno, Refusal());
  // The same while others use it as their base, or read it.
  const int over =
      open(daemon_->File("over.qed.raw").c_str(), O_RDWR | O_CLOEXEC);
  const int reader = open(view.c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_GE(over, 0);
  EXPECT_GE(reader, 0);
  EXPECT_EQ(OpenErrno(view, O_RDWR), Refusal());
  EXPECT_EQ(OpenErrno(view, O_WRONLY), Refusal());
  close(over);
  close(reader);
  MustRun("cmp " + disk_ + " " + view);
}

TEST_F(MountQcow2Test, SoIsOneThatIsMarkedAsCorrupt) {
  InSource("qemu-img create -q -f qcow2 -o data_file=data disk.qcow2 1M");
  // The second bit of the incompatible features; the third is the data file.
  InSource(
      "printf '\\006' | dd of=disk.qcow2 bs=1 seek=79 conv=notrunc "
      "status=none");
  Start();
  const std::string view = daemon_->File("disk.qcow2.raw");
  struct stat stat;
  ASSERT_EQ(::stat(view.c_str(), &stat), 0);
  EXPECT_EQ(stat.st_mode & 0222, 0u);
  EXPECT_EQ(OpenErrno(view, O_RDWR), Refusal());
  MustRun("cmp -n 1048576 /dev/zero " + view);
  if (geteuid() != 0) return;
  EXPECT_TRUE(daemon_->WaitForLog("marked as corrupt")) << daemon_->Log();
}

TEST_F(MountQcow2Test, OneLineSaysWhyAnImageCanOnlyBeRead) {
  if (geteuid() != 0) GTEST_SKIP() << "the kernel refuses who is not root";
  Start();
  const std::string view = daemon_->File("golden.qcow2.raw");
  for (int i = 0; i < 10; ++i) EXPECT_EQ(OpenErrno(view, O_RDWR), EROFS);
  const std::string line =
      "golden.qcow2.raw: can only be read: a qcow2 image is written only when "
      "its clusters are in an external data file";
  EXPECT_TRUE(daemon_->WaitForLog(line)) << daemon_->Log();
  const std::string log = daemon_->Log();
  EXPECT_EQ(log.find(line), log.rfind(line)) << log;
}

// Whatever a guest writes to their beginning.
TEST_F(MountQcow2Test, DataAndBackingFilesAreNoViews) {
  InSource("qemu-img create -q -f qcow2 -o data_file=data new.qcow2 1M");
  InSource("printf 'QFI\\373' | dd of=data conv=notrunc status=none");
  InSource("printf 'QED\\0' > base && truncate -s 1M base");
  InSource("qemu-img create -q -f qcow2 -b base -F raw over.qcow2");
  Start();
  EXPECT_EQ(Views(), "golden.qcow2.raw\nnew.qcow2.raw\nover.qcow2.raw\n");
  InSource("cmp base " + daemon_->File("over.qcow2.raw"));
}

TEST_F(MountQcow2Test, AnImageWithADataFileIsWritten) {
  InSource(
      "qemu-img create -q -f qcow2 -o data_file=data -b golden.qcow2 -F qcow2 "
      "disk.qcow2");
  Start();
  const std::string model = work_ / "model";
  MustRun("cp " + disk_ + " " + model);
  struct stat stat;
  ASSERT_EQ(::stat(daemon_->File("disk.qcow2.raw").c_str(), &stat), 0);
  EXPECT_NE(stat.st_mode & 0200, 0u);
  WriteBoth("disk.qcow2.raw", model);
  MustRun("cmp " + model + " " + daemon_->File("disk.qcow2.raw"));
  EXPECT_EQ(daemon_->Stop(), 0);
  InSource("qemu-img compare -f qcow2 -F raw disk.qcow2 " + model);
  InSource("qemu-img check -q disk.qcow2");
}

}  // namespace
}  // namespace flatcow
