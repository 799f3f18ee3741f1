// SPDX-License-Identifier: Apache-2.0
//
// -o ephemeral: views are written to, images are not.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/status.h"
#include "model/disk_model.h"
#include "mount/await.h"
#include "mount/daemon.h"
#include "mount/loop_device.h"
#include "mount/open_errno.h"
#include "mount/plain_user.h"
#include "mount/read_metric.h"
#include "mount/verified_load.h"
#include "mount/versioned_disk.h"
#include "support/scoped_mount.h"

namespace flatcow {
namespace {

constexpr uint64_t kMiB = 1 << 20;

mode_t ModeOf(const std::string& path) {
  struct stat stat;
  return ::stat(path.c_str(), &stat) == 0 ? stat.st_mode & 07777 : 0;
}

// The errno of opening an image of the host as a writer would.
int ErrnoOfWriter(const std::string& path, const std::string& format) {
  return ErrnoOf(OpenImage(PosixFileSystem(), path,
                           {.access = Access::kReadWrite, .format = format})
                     .status());
}

class MountEphemeralTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    MustRun("mkdir " + directory());
  }

  std::string directory() const { return work_ / "directory"; }

  std::unique_ptr<Daemon> Started(const std::string& options = "ephemeral") {
    auto daemon = std::make_unique<Daemon>(
        source_.path(), std::vector<std::string>{"-o", options});
    EXPECT_TRUE(daemon->mounted()) << daemon->Log();
    return daemon;
  }
  void Start(const std::string& options = "ephemeral") {
    daemon_ = Started(options);
  }
  // With DIR, and small.
  void StartIn(const std::string& more = "") {
    Start("ephemeral=" + directory() + more);
  }

  std::string InSource(const std::string& command) {
    return MustRun("cd " + source_.path() + " && " + command);
  }

  // Bytes, lengths, modes and times of all that is in SOURCE.
  std::string State() {
    return InSource(
        "find . -type f -exec cksum {} + | sort; "
        "find . | sort | xargs stat -c '%n %i %f %s %y'");
  }

  // Random writes to a view, and to a model that shows the same before.
  static void WriteBoth(const std::string& view, const std::string& model,
                        uint64_t seed, int count = 60) {
    const int fds[] = {open(view.c_str(), O_RDWR | O_CLOEXEC),
                       open(model.c_str(), O_RDWR | O_CLOEXEC)};
    ASSERT_GE(fds[0], 0) << strerror(errno);
    ASSERT_GE(fds[1], 0);
    struct stat stat;
    ASSERT_EQ(fstat(fds[1], &stat), 0);
    std::mt19937_64 random(seed);
    for (int i = 0; i < count; ++i) {
      const auto size = static_cast<uint64_t>(stat.st_size);
      ASSERT_GT(size, 1u);
      const uint64_t length =
          1 +
          random() % std::min<uint64_t>(size / 2, i % 3 == 0 ? 70'000 : 5'000);
      const uint64_t offset = random() % (size - length);
      const std::vector<uint8_t> bytes = Pattern(random(), length);
      for (const int fd : fds) {
        ASSERT_EQ(pwrite(fd, bytes.data(), length, static_cast<off_t>(offset)),
                  static_cast<ssize_t>(length))
            << strerror(errno);
      }
      if (i % 20 == 19) {
        EXPECT_EQ(fsync(fds[0]), 0) << strerror(errno);
      }
    }
    close(fds[0]);
    close(fds[1]);
  }

  static void ExpectSame(const std::string& a, const std::string& b) {
    MustRun("cmp " + a + " " + b);
  }

  // Bytes in use where views' writes go.
  uint64_t UsedBytes() const {
    struct statvfs info;
    EXPECT_EQ(statvfs(directory().c_str(), &info), 0);
    return (info.f_blocks - info.f_bfree) * info.f_frsize;
  }

  TemporaryDirectory source_;
  TemporaryDirectory work_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(MountEphemeralTest, ImagesOfEveryKindStayAsTheyAre) {
  MakeRawFile(source_ / "golden.img", 1, 3 * kMiB + 333);
  MakeQed(source_ / "a.qed", "golden.img", "raw", 3 * kMiB);
  MakeAddCow(source_ / "b.add-cow", "golden.img", "b.image", 2 * kMiB + 77);
  std::vector<std::string> images = {"golden.img", "a.qed", "b.add-cow"};
  if (HasProgram("qemu-img")) {
    InSource("qemu-img convert -c -f raw -O qcow2 golden.img c.qcow2");
    InSource("qemu-img create -q -f qcow2 -b c.qcow2 -F qcow2 d.qcow2");
    images.insert(images.end(), {"c.qcow2", "d.qcow2"});
  }
  const auto models = [&](const std::string& prefix) {
    for (const std::string& image : images) {
      MustRun("cp " + daemon_->File(image + ".raw") + " " +
              (work_ / (prefix + image)));
    }
  };
  InSource("chmod 444 *");
  const std::string before = State();
  Start("ephemeral,raw=*.img");
  models("original-");
  models("");
  for (int round = 0; round < 2; ++round) {
    for (const std::string& image : images) {
      SCOPED_TRACE(image);
      const std::string view = daemon_->File(image + ".raw");
      WriteBoth(view, work_ / image, SeedFor(round));
      // By another open.
      ExpectSame(work_ / image, view);
    }
  }
  EXPECT_EQ(daemon_->Stop(), 0) << daemon_->Log();
  EXPECT_EQ(State(), before);
  Start("ephemeral,raw=*.img");
  for (const std::string& image : images) {
    ExpectSame(work_ / ("original-" + image), daemon_->File(image + ".raw"));
  }
}

TEST_F(MountEphemeralTest, TwoMountsOfOneImageKnowNothingOfEachOther) {
  MakeRawFile(source_ / "golden.img", 1, kMiB);
  MakeQed(source_ / "vm", "golden.img", "raw");
  MustRun("cp " + (source_ / "golden.img") + " " + (work_ / "a"));
  MustRun("cp " + (source_ / "golden.img") + " " + (work_ / "b"));
  const auto a = Started();
  const auto b = Started();
  Daemon reader(source_.path(), {"-o", "ro"});
  for (uint64_t round = 0; round < 3; ++round) {
    WriteBoth(a->File("vm.raw"), work_ / "a", 2 * round);
    WriteBoth(b->File("vm.raw"), work_ / "b", 2 * round + 1);
    ExpectSame(a->File("vm.raw"), work_ / "a");
    ExpectSame(b->File("vm.raw"), work_ / "b");
    ExpectSame(reader.File("vm.raw"), source_ / "golden.img");
  }
}

TEST_F(MountEphemeralTest, WhatIsWrittenLeavesWithTheDaemonHoweverItEnds) {
  const ScopedMount tmpfs("tmpfs", directory(), "size=64m");
  if (!tmpfs.mounted()) GTEST_SKIP() << tmpfs.why_not();
  MakeRawFile(source_ / "golden", 1, 16 * kMiB);
  const std::string names = InSource("ls -A");
  const uint64_t before = UsedBytes();
  for (const bool killed : {false, true}) {
    StartIn(",raw=golden");
    MustRun("dd if=/dev/zero of=" + daemon_->File("golden.raw") +
            " bs=1M count=8 conv=notrunc status=none");
    EXPECT_GE(UsedBytes(), before + 8 * kMiB);
    // df tells where the space goes.
    struct statvfs info;
    ASSERT_EQ(statvfs(daemon_->mountpoint().c_str(), &info), 0);
    EXPECT_EQ(info.f_blocks * info.f_frsize, 64 * kMiB);
    EXPECT_EQ(MustRun("ls -A " + directory()), "");
    EXPECT_EQ(InSource("ls -A"), names);
    if (killed) {
      daemon_->Signal(SIGKILL);
      daemon_->WaitForExit();
      MustRun("umount -l " + daemon_->mountpoint());
    } else {
      EXPECT_EQ(daemon_->Stop(), 0) << daemon_->Log();
    }
    EXPECT_EQ(UsedBytes(), before);
    EXPECT_EQ(MustRun("ls -A " + directory()), "");
    EXPECT_EQ(InSource("ls -A"), names);
  }
}

TEST_F(MountEphemeralTest, WhatIsFreedIsSpaceAgain) {
  const ScopedMount tmpfs("tmpfs", directory(), "size=64m");
  if (!tmpfs.mounted()) GTEST_SKIP() << tmpfs.why_not();
  MakeRawFile(source_ / "golden", 1, 16 * kMiB);
  StartIn(",raw=golden");
  const int fd = open(daemon_->File("golden.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const std::vector<uint8_t> bytes = Pattern(2, 8 * kMiB);
  ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), 0),
            static_cast<ssize_t>(bytes.size()));
  const uint64_t full = UsedBytes();
  ASSERT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096,
                      12 * kMiB),
            0);
  EXPECT_LE(UsedBytes(), full - 7 * kMiB);
  // Not the image's bytes.
  EXPECT_EQ(lseek(fd, 4096, SEEK_HOLE), 4096);
  EXPECT_EQ(lseek(fd, 4096, SEEK_DATA), static_cast<off_t>(12 * kMiB + 4096));
  std::vector<uint8_t> zeroes(65536, 1);
  ASSERT_EQ(pread(fd, zeroes.data(), zeroes.size(), 10 * kMiB), 65536);
  EXPECT_EQ(zeroes, std::vector<uint8_t>(65536));
  close(fd);
}

// Locks: a reader's end with its last close, a writer's stay with its disk.
TEST_F(MountEphemeralTest, TheImageIsInUseAsLongAsItsDiskIs) {
  MakeQed(source_ / "vm", "", "", kMiB);
  Start();
  const std::string view = daemon_->File("vm.raw");
  EXPECT_EQ(ErrnoOfWriter(source_ / "vm", "qed"), 0);
  const int reader = open(view.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  EXPECT_EQ(ErrnoOfWriter(source_ / "vm", "qed"), EBUSY);
  close(reader);
  // The close may be on its way.
  Await([&] { return ErrnoOfWriter(source_ / "vm", "qed") != EBUSY; });
  {
    const auto writer = OpenImage(PosixFileSystem(), source_ / "vm",
                                  {.access = Access::kReadWrite});
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_EQ(OpenErrno(view, O_RDONLY), EBUSY);
  }
  MustRun("echo hello | dd of=" + view + " conv=notrunc status=none");
  EXPECT_EQ(ReadRequestCount(*daemon_, "release", 2), 2u);
  EXPECT_EQ(ErrnoOfWriter(source_ / "vm", "qed"), EBUSY);
  EXPECT_EQ(MustRun("head -n 1 " + view), "hello\n");
  // As a base and to read it is everybody's.
  EXPECT_TRUE(OpenImage(PosixFileSystem(), source_ / "vm", {}).ok());
  const auto other = Started();
  EXPECT_EQ(OpenErrno(other->File("vm.raw"), O_RDWR), 0);
}

TEST_F(MountEphemeralTest, QemuMayReadTheImageMeanwhileAndNotWriteToIt) {
  if (!HasProgram("qemu-io")) GTEST_SKIP() << "needs qemu-io";
  InSource("qemu-img create -q -f qcow2 golden 1M");
  InSource("qemu-io -f qcow2 -c 'write -P 7 0 64k' golden");
  Start();
  const std::string view = daemon_->File("golden.raw");
  MustRun("echo hello | dd of=" + view + " conv=notrunc status=none");
  InSource("qemu-io -r -f qcow2 -c 'read -P 7 0 64k' golden");
  EXPECT_NE(Shell("qemu-io -f qcow2 -c 'write 0 64k' " + (source_ / "golden"))
                .exit_code,
            0);
  EXPECT_EQ(daemon_->Stop(), 0);
  InSource("qemu-io -f qcow2 -c 'write -P 8 0 64k' golden");
}

TEST_F(MountEphemeralTest, AFullDirectoryFailsWritesThatNeedSpaceAndNoOthers) {
  const ScopedMount tmpfs("tmpfs", directory(), "size=12m");
  if (!tmpfs.mounted()) GTEST_SKIP() << tmpfs.why_not();
  VersionedDisk disk(16 << 20, VersionedDisk::Content::kStamped);
  const std::vector<uint8_t> bytes = disk.Original();
  std::ofstream(source_ / "golden", std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  MakeRawFile(source_ / "sibling", 1, kMiB);
  MustRun("cp " + (source_ / "sibling") + " " + (work_ / "sibling"));
  StartIn(",raw=golden,raw=sibling,commit=1");
  WriteBoth(daemon_->File("sibling.raw"), work_ / "sibling", 1);
  const std::string filler = directory() + "/filler";
  MustRun("head -c 6M /dev/zero > " + filler);
  std::atomic<uint64_t> failures{0};
  std::atomic<uint64_t> after{0};
  std::atomic<bool> space{false};
  LoadOptions load;
  load.view = daemon_->File("golden.raw");
  load.seed = SeedFor(0);
  load.before_each = [&](uint64_t) { return !space || ++after < 300; };
  load.on_error = [&](int error) {
    if (error != ENOSPC) return Verdict::kFail;
    if (++failures == 40) {
      // What can be seen is right, also while there is no space.
      std::remove(filler.c_str());
      space = true;
    }
    return Verdict::kGoOn;
  };
  EXPECT_EQ(RunLoad(disk, load), "") << daemon_->Log();
  EXPECT_GE(failures, 40u);
  uint64_t bad = 0;
  EXPECT_EQ(VerifyView(load.view, disk, bad), "") << daemon_->Log();
  ExpectSame(daemon_->File("sibling.raw"), work_ / "sibling");
  // Where there is none at all: what is there may still be written, and synced.
  MustRun("dd if=/dev/zero of=" + filler +
          " bs=64k status=none 2>/dev/null; test -s " + filler);
  const int fd = open(daemon_->File("sibling.raw").c_str(), O_RDWR | O_CLOEXEC);
  const std::vector<uint8_t> sector = Pattern(3, 4096);
  int refused = 0;
  for (int i = 0; i < 256; ++i) {
    if (pwrite(fd, sector.data(), sector.size(), i * 4096) < 0) {
      EXPECT_EQ(errno, ENOSPC);
      ++refused;
    }
    EXPECT_EQ(fsync(fd), 0) << strerror(errno);
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 256);
  close(fd);
  EXPECT_NE(daemon_->Log().find("No space left"), std::string::npos);
  EXPECT_EQ(daemon_->Stop(), 0);
  MakeRawFile(work_ / "original", 1, kMiB);
  ExpectSame(source_ / "sibling", work_ / "original");
}

// The page cache takes the writes, and then the disk below is full: nobody
// waits for that, but a flush tells.
TEST_F(MountEphemeralTest, AFlushTellsOfWritesThatTheHostHasLost) {
  MustRun("mkdir " + (work_ / "tmpfs"));
  const ScopedMount tmpfs("tmpfs", work_ / "tmpfs", "size=20m");
  if (!tmpfs.mounted()) GTEST_SKIP() << tmpfs.why_not();
  SKIP_WITHOUT_LOOP();
  const std::string disk = work_ / "tmpfs/disk";
  MustRun("truncate -s 64M " + disk + " && mkfs.ext4 -q -F -O ^has_journal " +
          disk);
  const LoopDevice loop(disk, "");
  const GuestMount mounted(loop.path(), directory());
  InSource("truncate -s 32M golden");
  StartIn(",raw=golden");
  const int fd = open(daemon_->File("golden.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const std::vector<uint8_t> bytes = Pattern(1, 8 * kMiB);
  const auto size = static_cast<ssize_t>(bytes.size());
  ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), 0), size);
  EXPECT_EQ(fsync(fd), 0) << strerror(errno);
  Shell("dd if=/dev/zero of=" + (work_ / "tmpfs/filler") + " bs=64k");
  ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), 16 * kMiB), size);
  Shell("sync -f " + directory());
  EXPECT_EQ(fsync(fd), -1);
  EXPECT_EQ(fsync(fd), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(pwrite(fd, bytes.data(), 4096, 0), -1);
  EXPECT_EQ(errno, EIO);
  close(fd);
  EXPECT_NE(daemon_->Log().find("write back"), std::string::npos)
      << daemon_->Log();
  daemon_.reset();
}

TEST_F(MountEphemeralTest, AGuestsFileSystemOnALoopDevice) {
  SKIP_WITHOUT_LOOP();
  InSource("truncate -s 128M golden && mkfs.ext4 -q -F golden");
  const std::string before = State();
  Start("ephemeral,raw=golden");
  const std::string view = daemon_->File("golden.raw");
  for (const std::string options : {"loop", "loop,ro"}) {
    GuestMount mounted(view, work_ / "guest", options);
    if (options == "loop") {
      MustRun("cp -a /usr/include/linux " + (work_ / "guest/tree") +
              " && sync -f " + (work_ / "guest"));
    }
    MustRun("diff -r --no-dereference /usr/include/linux " +
            (work_ / "guest/tree"));
  }
  MustRun("e2fsck -f -n " + view);
  EXPECT_EQ(daemon_->Stop(), 0);
  EXPECT_EQ(State(), before);
}

TEST_F(MountEphemeralTest, TheDiskGrowsNotTheImage) {
  MakeRawFile(source_ / "golden", 1, 100'001);
  const std::string before = State();
  Start("ephemeral,raw=golden,commit=1");
  const std::string view = daemon_->File("golden.raw");
  EXPECT_EQ(truncate(view.c_str(), 50'000), -1);
  EXPECT_EQ(errno, EPERM);
  ASSERT_EQ(truncate(view.c_str(), 300'003), 0) << strerror(errno);
  MustRun("cp " + (source_ / "golden") + " " + (work_ / "model") +
          " && truncate -s 300003 " + (work_ / "model"));
  ExpectSame(view, work_ / "model");
  WriteBoth(view, work_ / "model", 1);
  ExpectSame(view, work_ / "model");
  EXPECT_EQ(daemon_->Stop(), 0);
  EXPECT_EQ(State(), before);
}

TEST_F(MountEphemeralTest, WhoMayReadMayWrite) {
  MakeQed(source_ / "vm", "", "", kMiB);
  InSource("chmod 440 vm");
  Start("ephemeral,umask=002");
  const std::string view = daemon_->File("vm.raw");
  EXPECT_EQ(ModeOf(view), 0660u);
  InSource("chmod 744 vm");
  Await([&] { return ModeOf(view) == 0664u; });
  InSource("chmod 000 vm");
  Await([&] { return ModeOf(view) == 0u; });
  InSource("chmod 400 vm");
  char text[16] = {};
  if (getxattr(view.c_str(), "user.flatcow.format", text, 16) < 0 &&
      errno == EOPNOTSUPP) {
    GTEST_SKIP() << "this kernel asks for attributes before each write";
  }
  EXPECT_EQ(getxattr(view.c_str(), "user.flatcow.ephemeral", text, 16), 1);
  EXPECT_EQ(text[0], '1');
  EXPECT_EQ(getxattr(view.c_str(), "user.flatcow.format", text, 16), 3);
}

TEST_F(MountEphemeralTest, AnImageThatCanOnlyBeReadIsWritten) {
  if (!HasProgram("qemu-img")) GTEST_SKIP() << "needs qemu-img";
  InSource("qemu-img create -q -f qcow2 golden 1M");
  Start();
  const std::string view = daemon_->File("golden.raw");
  EXPECT_EQ(ModeOf(view) & 0200, 0200u);
  EXPECT_EQ(getxattr(view.c_str(), "user.flatcow.read_only", nullptr, 0), -1);
  EXPECT_EQ(OpenErrno(view, O_RDWR), 0);
}

TEST_F(MountEphemeralTest, RawImagesAreThoseThatAreNamed) {
  MakeRawFile(source_ / "a.img", 1, 65536);
  MakeRawFile(source_ / ".b.img", 2, 65536);
  MakeRawFile(source_ / "c.iso", 3, 65536);
  InSource("mkdir sub");
  MakeRawFile(source_ / "sub/d.img", 4, 65536);
  MakeRawFile(source_ / "sub/e.iso", 5, 65536);
  MakeQed(source_ / "sub/f.qed", "", "", 65536);
  Start();
  EXPECT_EQ(MustRun("cd " + daemon_->mountpoint() + " && find . -type f"),
            "./sub/f.qed.raw\n");
  EXPECT_EQ(daemon_->Stop(), 0);
  Start("ephemeral,raw=*.img,raw=s*/*.iso");
  EXPECT_EQ(
      MustRun("cd " + daemon_->mountpoint() + " && find . -type f | sort"),
      "./a.img.raw\n./sub/d.img.raw\n./sub/e.iso.raw\n./sub/f.qed.raw\n");
  // They come and go as others do.
  MakeRawFile(source_ / "new.img", 6, 4097);
  ExpectSame(daemon_->File("new.img.raw"), source_ / "new.img");
  InSource("rm a.img");
  EXPECT_EQ(OpenErrno(daemon_->File("a.img.raw"), O_RDONLY), ENOENT);
}

// A guest has made its raw disk look like an image.
TEST_F(MountEphemeralTest, ARawImageIsNeverProbed) {
  MakeQed(source_ / "looks.qed", "/etc/hostname", "raw", kMiB);
  MakeQed(source_ / "is.qed", "", "", kMiB);
  MustRun("cp " + (source_ / "looks.qed") + " " + (work_ / "model"));
  Start("ephemeral,raw=looks*");
  const std::string view = daemon_->File("looks.qed.raw");
  ExpectSame(view, work_ / "model");
  WriteBoth(view, work_ / "model", 1, 3);
  ExpectSame(view, work_ / "model");
  // By all of its names.
  InSource("ln looks.qed also.qed");
  ExpectSame(daemon_->File("also.qed.raw"), work_ / "model");
  EXPECT_EQ(MustRun("stat -c %s " + daemon_->File("is.qed.raw")), "1048576\n");
}

TEST_F(MountEphemeralTest, WhatImagesUseIsHiddenUnlessItIsAskedForAsABase) {
  MakeRawFile(source_ / "base.img", 1, 65536);
  MakeAddCow(source_ / "vm", "base.img", "data.img");
  Start("ephemeral,raw=*.img");
  EXPECT_EQ(MustRun("ls " + daemon_->mountpoint()), "base.img.raw\nvm.raw\n");
  const std::string before = State();
  WriteBoth(daemon_->File("base.img.raw"), daemon_->File("vm.raw"), 1, 5);
  ExpectSame(daemon_->File("base.img.raw"), daemon_->File("vm.raw"));
  EXPECT_EQ(State(), before);
}

TEST_F(MountEphemeralTest, OneRawFileIsADisk) {
  MakeRawFile(source_ / "golden", 1, 77'777);
  MustRun("cp " + (source_ / "golden") + " " + (work_ / "model"));
  {
    const Daemon refused(source_ / "golden");
    EXPECT_FALSE(refused.mounted());
    EXPECT_NE(refused.Log().find("-o ephemeral"), std::string::npos)
        << refused.Log();
  }
  Daemon daemon(source_ / "golden", {"-o", "ephemeral"});
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  EXPECT_EQ(MustRun("ls " + daemon.mountpoint()), "golden.raw\n");
  WriteBoth(daemon.File("golden.raw"), work_ / "model", 1, 9);
  ExpectSame(daemon.File("golden.raw"), work_ / "model");
}

TEST_F(MountEphemeralTest, OneFileWithAMagicIsAnImageUnlessItIsCalledRaw) {
  MakeQed(source_ / "vm", "", "", kMiB);
  for (const bool raw : {false, true}) {
    Daemon daemon(source_ / "vm",
                  {"-o", raw ? "ephemeral,raw=vm" : "ephemeral"});
    ASSERT_TRUE(daemon.mounted()) << daemon.Log();
    if (raw) {
      ExpectSame(daemon.File("vm.raw"), source_ / "vm");
    } else {
      EXPECT_EQ(MustRun("stat -c %s " + daemon.File("vm.raw")), "1048576\n");
    }
  }
}

TEST_F(MountEphemeralTest, WithoutAPlaceForWritesOnlyReadingIsPossible) {
  const std::string golden = work_ / "golden";
  MustRun("mkdir " + golden);
  const ScopedMount tmpfs("tmpfs", golden, "size=16m");
  if (!tmpfs.mounted()) GTEST_SKIP() << tmpfs.why_not();
  MakeQed(golden + "/vm", "", "", kMiB);
  MustRun("mount -o remount,ro " + golden);
  {
    Daemon daemon(golden, {"-o", "ephemeral"});
    ASSERT_TRUE(daemon.mounted()) << daemon.Log();
    EXPECT_EQ(OpenErrno(daemon.File("vm.raw"), O_RDWR), EROFS);
    EXPECT_TRUE(daemon.WaitForLog("-o ephemeral=DIR")) << daemon.Log();
    EXPECT_EQ(OpenErrno(daemon.File("vm.raw"), O_RDONLY), 0);
    const int reader =
        open(daemon.File("vm.raw").c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(OpenErrno(daemon.File("vm.raw"), O_WRONLY), EROFS);
    char byte = 1;
    EXPECT_EQ(pread(reader, &byte, 1, 0), 1);
    close(reader);
  }
  Daemon daemon(golden, {"-o", "ephemeral=" + directory()});
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  MustRun("echo hello | dd of=" + daemon.File("vm.raw") +
          " conv=notrunc status=none");
  EXPECT_EQ(MustRun("head -n 1 " + daemon.File("vm.raw")), "hello\n");
}

TEST_F(MountEphemeralTest, AnImageThatIsRemovedTakesItsDiskWithIt) {
  const ScopedMount tmpfs("tmpfs", directory(), "size=64m");
  if (!tmpfs.mounted()) GTEST_SKIP() << tmpfs.why_not();
  MakeRawFile(source_ / "golden", 1, 16 * kMiB);
  StartIn(",raw=golden,commit=1");
  const uint64_t before = UsedBytes();
  const std::string view = daemon_->File("golden.raw");
  const int fd = open(view.c_str(), O_RDWR | O_CLOEXEC);
  const std::vector<uint8_t> bytes = Pattern(2, 4 * kMiB);
  ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), 0),
            static_cast<ssize_t>(bytes.size()));
  InSource("rm golden");
  Await([&] { return OpenErrno(view, O_RDONLY) == ENOENT; });
  // Who has it open goes on.
  std::vector<uint8_t> read(bytes.size());
  EXPECT_EQ(pread(fd, read.data(), read.size(), 0),
            static_cast<ssize_t>(read.size()));
  EXPECT_TRUE(read == bytes);
  EXPECT_GE(UsedBytes(), before + 4 * kMiB);
  close(fd);
  // The same name again is another disk.
  MakeRawFile(source_ / "golden", 3, kMiB);
  ExpectSame(view, source_ / "golden");
  Await([&] { return UsedBytes() == before; });
}

TEST_F(MountEphemeralTest, MistakesAreToldBeforeTheMount) {
  MakeRawFile(work_ / "file", 1, 10);
  MakeQed(source_ / "vm", "", "", kMiB);
  const struct {
    std::string options;
    int exit_code;
    std::string says;
  } cases[] = {
      {"ro,ephemeral", 1, "exclude each other"},
      {"raw=*.img", 1, "ephemeral only"},
      {"ephemeral=", 1, "ephemeral[=DIR]"},
      {"ephemeral=" + (work_ / "nowhere"), 2, work_ / "nowhere"},
      {"ephemeral=" + (work_ / "file"), 2, work_ / "file"},
      {"ephemeral=/proc/self", 2, "/proc"},
  };
  for (const auto& [options, exit_code, says] : cases) {
    SCOPED_TRACE(options);
    Daemon daemon(source_.path(), {"-o", options});
    EXPECT_FALSE(daemon.mounted());
    EXPECT_EQ(daemon.WaitForExit(), exit_code);
    EXPECT_NE(daemon.Log().find(says), std::string::npos) << daemon.Log();
  }
}

TEST_F(MountEphemeralTest, TheDirectoryIsLookedUpWhereTheCallerIs) {
  MakeQed(source_ / "vm", "", "", kMiB);
  const ThroughProgram here("env -C " + work_.path());
  Start("ephemeral=directory");
  MustRun("echo hello | dd of=" + daemon_->File("vm.raw") +
          " conv=notrunc status=none");
  EXPECT_EQ(MustRun("head -n 1 " + daemon_->File("vm.raw")), "hello\n");
  EXPECT_NE(MustRun("ls -l /proc/" + std::to_string(daemon_->pid()) + "/fd")
                .find(directory() + "/#"),
            std::string::npos);
}

TEST_F(MountEphemeralTest, AUserNeedsNoRightToWriteToImages) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  AdmitUsers(work_ / "admit");
  if (IsSkipped()) return;
  MakeQed(source_ / "vm", "", "", kMiB);
  InSource("chmod 755 . && chmod 444 vm");
  MustRun("chmod 755 " + work_.path() + " && chown 65534:65534 " + directory());
  const std::string before = State();
  const ThroughProgram nobody(kAsNobody);
  const std::string as = std::string(kAsNobody) + " sh -c ";
  for (const bool elsewhere : {false, true}) {
    TemporaryDirectory mountpoint;
    MustRun("chown 65534:65534 " + mountpoint.path());
    Daemon daemon(source_.path(),
                  {"-o", elsewhere ? "ephemeral=" + directory() : "ephemeral"},
                  mountpoint.path());
    ASSERT_TRUE(daemon.mounted()) << daemon.Log();
    const CommandResult written =
        Shell(as + "'echo hello | dd of=" + daemon.File("vm.raw") +
              " conv=notrunc status=none && head -n 1 " +
              daemon.File("vm.raw") + "'");
    if (elsewhere) {
      EXPECT_EQ(written.output, "hello\n") << daemon.Log();
    } else {
      EXPECT_NE(written.exit_code, 0);
      EXPECT_TRUE(daemon.WaitForLog("-o ephemeral=DIR")) << daemon.Log();
    }
  }
  EXPECT_EQ(State(), before);
}

}  // namespace
}  // namespace flatcow
