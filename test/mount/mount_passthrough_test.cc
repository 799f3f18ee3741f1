// SPDX-License-Identifier: Apache-2.0
//
// Views that are one plain file, which the kernel reads and writes itself.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "flatcow/image.h"
#include "model/image_testing.h"
#include "mount/daemon.h"
#include "mount/loop_device.h"
#include "mount/plain_user.h"
#include "mount/read_metric.h"

namespace flatcow {
namespace {

constexpr uint64_t kCluster = 65536;
constexpr uint64_t kSize = 16 * kCluster;
constexpr size_t kPage = 4096;

// Of the daemon, since its start.
struct Served {
  uint64_t opens = 0;
  uint64_t passthrough = 0;
  uint64_t reads = 0;
  uint64_t writes = 0;
};

bool KernelIsAtLeast(int major, int minor) {
  utsname name;
  int have_major = 0;
  int have_minor = 0;
  return uname(&name) == 0 &&
         std::sscanf(name.release, "%d.%d", &have_major, &have_minor) == 2 &&
         (have_major > major || (have_major == major && have_minor >= minor));
}

// The kernel asks for the privilege outside of all user namespaces.
bool IsRealRoot() {
  std::ifstream map("/proc/self/uid_map");
  unsigned long inside = 1;
  unsigned long outside = 1;
  unsigned long count = 0;
  map >> inside >> outside >> count;
  return geteuid() == 0 && inside == 0 && outside == 0 && count >= 0xffffffff;
}

// An open view. Pages are the unit, for O_DIRECT.
class File {
 public:
  File(const std::string& path, int flags)
      : fd_(open(path.c_str(), flags | O_CLOEXEC)) {
    EXPECT_GE(fd_, 0) << path << ": " << std::strerror(errno);
    EXPECT_EQ(posix_memalign(&buffer_, kPage, kPage), 0);
  }
  ~File() {
    close(fd_);
    std::free(buffer_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int fd() const { return fd_; }

  std::string ReadPage(uint64_t page) {
    std::memset(buffer_, '?', kPage);
    EXPECT_EQ(pread(fd_, buffer_, kPage, static_cast<off_t>(page * kPage)),
              static_cast<ssize_t>(kPage))
        << std::strerror(errno);
    return std::string(static_cast<char*>(buffer_), kPage);
  }
  void WritePage(uint64_t page, char content) {
    std::memset(buffer_, content, kPage);
    EXPECT_EQ(pwrite(fd_, buffer_, kPage, static_cast<off_t>(page * kPage)),
              static_cast<ssize_t>(kPage))
        << std::strerror(errno);
  }

 private:
  const int fd_;
  void* buffer_ = nullptr;
};

// Of a whole view.
class Mapping {
 public:
  explicit Mapping(int fd)
      : memory_(
            mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) {
    EXPECT_NE(memory_, MAP_FAILED) << std::strerror(errno);
  }
  ~Mapping() {
    if (ok()) munmap(memory_, kSize);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  bool ok() const { return memory_ != MAP_FAILED; }
  char* page(uint64_t page) const {
    return static_cast<char*>(memory_) + page * kPage;
  }
  void WritePage(uint64_t number, char content) const {
    std::memset(page(number), content, kPage);
    EXPECT_EQ(msync(memory_, kSize, MS_SYNC), 0);
  }

 private:
  void* const memory_;
};

std::string PageOf(char content) { return std::string(kPage, content); }

struct stat StatOf(const std::string& path) {
  struct stat info = {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info;
}

class MountPassthroughTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    if (!KernelIsAtLeast(6, 9)) GTEST_SKIP() << "needs Linux 6.9";
    if (!IsRealRoot()) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
    MustRun("chmod 0755 " + source_.path() + " " + work_.path());
    MakeRawFile(source_ / "base", 1, kSize);
    MakeAddCow(source_ / "disk", "base", "data", 0, kCluster);
  }

  // Writes `clusters` of the image, the last of them when that is all.
  void Fill(uint64_t clusters = kSize / kCluster) {
    content_ = PatternText(2, kSize);
    const auto image = Must(OpenImage(PosixFileSystem(), source_ / "disk",
                                      {.access = Access::kReadWrite}));
    WriteDisk(*image, 0, content_.substr(0, clusters * kCluster));
    Must(image->Flush());
  }

  void Start(std::vector<std::string> options = {}) {
    daemon_.reset();
    daemon_ = std::make_unique<Daemon>(source_.path(), std::move(options));
    ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
  }

  std::string view() const { return daemon_->File("disk.raw"); }
  std::string data() const { return source_ / "data"; }

  Served Counters(uint64_t reads = 0, uint64_t writes = 0) const {
    const uint64_t passthrough =
        ReadMetric(*daemon_, "flatcow_passthrough_opens_total");
    return {ReadRequestCount(*daemon_, "open", passthrough), passthrough,
            ReadRequestCount(*daemon_, "read", reads),
            ReadRequestCount(*daemon_, "write", writes)};
  }

  // Everything since the start went past the daemon, and something did.
  void ExpectAllPassthrough() const {
    const Served served = Counters();
    EXPECT_GT(served.opens, 0u);
    EXPECT_EQ(served.passthrough, served.opens);
    EXPECT_EQ(served.reads, 0u);
    EXPECT_EQ(served.writes, 0u);
  }

  // The daemon hears of a close some time after it.
  std::unique_ptr<File> OpenUntilPassthrough(int flags) const {
    const uint64_t before = Counters().passthrough;
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (std::chrono::steady_clock::now() < end) {
      auto file = std::make_unique<File>(view(), flags);
      if (Counters().passthrough > before) return file;
    }
    ADD_FAILURE() << "the daemon serves " << view();
    return nullptr;
  }

  TemporaryDirectory source_;
  TemporaryDirectory work_;
  std::string content_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(MountPassthroughTest, AnAllocatedViewIsReadAndWrittenPastTheDaemon) {
  Fill();
  Start();
  MustRun("cmp " + data() + " " + view());
  File file(view(), O_RDWR);
  file.WritePage(3, 'W');
  EXPECT_EQ(fsync(file.fd()), 0);
  EXPECT_EQ(File(data(), O_RDONLY).ReadPage(3), PageOf('W'));
  EXPECT_EQ(file.ReadPage(3), PageOf('W'));
  MustRun("cmp " + data() + " " + view());
  ExpectAllPassthrough();
}

TEST_F(MountPassthroughTest, AllKindsOfOpensMixOnOneView) {
  Fill();
  for (const char* cache : {"cache=auto", "cache=none"}) {
    SCOPED_TRACE(cache);
    Start({"-o", cache});
    File reader(view(), O_RDONLY);
    EXPECT_EQ(reader.ReadPage(9), content_.substr(9 * kPage, kPage));
    File direct(view(), O_RDWR | O_DIRECT);
    direct.WritePage(0, 'd');
    EXPECT_EQ(reader.ReadPage(0), PageOf('d'));
    File writer(view(), O_RDWR);
    const Mapping mapping(writer.fd());
    ASSERT_TRUE(mapping.ok());
    EXPECT_EQ(std::string(mapping.page(0), kPage), PageOf('d'));
    mapping.WritePage(1, 'm');
    EXPECT_EQ(direct.ReadPage(1), PageOf('m'));
    writer.WritePage(2, 'w');
    EXPECT_EQ(direct.ReadPage(2), PageOf('w'));
    const Mapping mapped_direct(direct.fd());
    ASSERT_TRUE(mapped_direct.ok());
    EXPECT_EQ(std::string(mapped_direct.page(2), kPage), PageOf('w'));
    File durable(view(), O_WRONLY | O_DSYNC | O_DIRECT);
    durable.WritePage(4, 's');
    EXPECT_EQ(File(data(), O_RDONLY).ReadPage(4), PageOf('s'));
    ExpectAllPassthrough();
  }
}

// The kernel answers EIO to an open of the other kind.
TEST_F(MountPassthroughTest, AViewThatTheDaemonServesStaysSoUntilItsLastClose) {
  constexpr uint64_t kLastPage = kSize / kPage - 1;
  Fill(kSize / kCluster - 1);
  Start();
  {
    File file(view(), O_RDWR);
    file.ReadPage(0);
    std::string last = content_.substr(kSize - kCluster);
    ASSERT_EQ(pwrite(file.fd(), last.data(), last.size(), kSize - kCluster),
              static_cast<ssize_t>(kCluster));
    ASSERT_EQ(fsync(file.fd()), 0);
    EXPECT_TRUE(
        Must(OpenImage(PosixFileSystem(), source_ / "disk", {.lock = false}))
            ->Info()
            .all_allocated);
    for (const int flags : {O_RDONLY, O_RDWR, O_RDWR | O_DIRECT}) {
      EXPECT_EQ(File(view(), flags).ReadPage(kLastPage),
                content_.substr(kSize - kPage));
    }
    EXPECT_EQ(Counters().passthrough, 0u);
  }
  const auto file = OpenUntilPassthrough(O_RDWR);
  ASSERT_NE(file, nullptr);
  // What the kernel has cached of the view is older than this.
  file->WritePage(0, 'n');
  EXPECT_EQ(file->ReadPage(0), PageOf('n'));
  EXPECT_EQ(File(view(), O_RDONLY).ReadPage(0), PageOf('n'));
  EXPECT_EQ(File(view(), O_RDONLY).ReadPage(kLastPage),
            content_.substr(kSize - kPage));
}

TEST_F(MountPassthroughTest, ManyOpensAndClosesAtOnceAllWork) {
  Fill();
  Start();
  // Closes and opens overtake each other on their way to the daemon.
  MustRun(
      "for worker in 1 2 3 4; do (for i in $(seq 100); do dd if=" + view() +
      " of=/dev/null bs=4k count=1 status=none $([ $((i % 2)) = 0 ] && echo "
      "iflag=direct) || exit 1; done) & pids=\"$pids $!\"; done; "
      "for pid in $pids; do wait $pid || exit 1; done");
  ExpectAllPassthrough();
}

TEST_F(MountPassthroughTest, OffMeansThatTheDaemonServes) {
  Fill();
  Start({"-o", "passthrough=off"});
  MustRun("cmp " + data() + " " + view());
  File file(view(), O_RDWR | O_DIRECT);
  file.WritePage(0, 'o');
  const Served served = Counters(1, 1);
  EXPECT_EQ(served.passthrough, 0u);
  EXPECT_GT(served.reads, 0u);
  EXPECT_EQ(served.writes, 1u);
}

TEST_F(MountPassthroughTest, APlainUsersDaemonServes) {
  Fill();
  const std::string mountpoint = work_ / "mnt";
  MustRun("mkdir " + mountpoint + " && chown -R 65534:65534 " + mountpoint +
          " " + source_.path());
  AdmitUsers(work_ / "admit");
  if (IsSkipped()) return;
  const ThroughProgram nobody(kAsNobody);
  daemon_ = std::make_unique<Daemon>(
      source_.path(), std::vector<std::string>{"-o", "allow_other"},
      mountpoint);
  ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
  MustRun("cmp " + data() + " " + view());
  File file(view(), O_RDWR);
  file.WritePage(0, 'u');
  EXPECT_EQ(fsync(file.fd()), 0);
  EXPECT_EQ(File(data(), O_RDONLY).ReadPage(0), PageOf('u'));
  const Served served = Counters(1);
  EXPECT_EQ(served.passthrough, 0u);
  EXPECT_GT(served.reads, 0u);
  // As for root: nothing is said about it.
  EXPECT_EQ(daemon_->Log().find("passthrough:"), std::string::npos);
}

TEST_F(MountPassthroughTest, WorksWhereFusermountMounts) {
  if (!HasProgram("fusermount3")) GTEST_SKIP() << "needs fusermount3";
  Fill();
  Start({"-o", "auto_unmount,allow_other,fsname=a\\,b"});
  MustRun("cmp " + data() + " " + view());
  ExpectAllPassthrough();
}

TEST_F(MountPassthroughTest, AnUnusedOverlayOfAReadOnlyMountIsItsBackingFile) {
  MakeQed(source_ / "other", "base", "raw");
  Start();
  MustRun("cmp " + (source_ / "base") + " " + view());
  EXPECT_EQ(Counters().passthrough, 0u);
  Start({"-o", "ro"});
  for (const char* name : {"disk.raw", "other.raw"}) {
    MustRun("cmp " + (source_ / "base") + " " + daemon_->File(name));
  }
  ExpectAllPassthrough();
  daemon_.reset();
  Fill(1);
  Start({"-o", "ro"});
  EXPECT_EQ(File(view(), O_RDONLY).ReadPage(0), content_.substr(0, kPage));
  EXPECT_EQ(Counters().passthrough, 0u);
  // Without locks, others may write to the overlay.
  Start({"-o", "ro,lock=off"});
  MustRun("cmp " + (source_ / "base") + " " + daemon_->File("other.raw"));
  EXPECT_EQ(Counters().passthrough, 0u);
}

TEST_F(MountPassthroughTest, AWritePastTheEndGrowsTheDisk) {
  Fill();
  Start();
  {
    File file(view(), O_RDWR);
    // Each of these comes to a daemon that has not heard of the write.
    ASSERT_EQ(pwrite(file.fd(), "end", 3, kSize + 100), 3);
    EXPECT_EQ(ftruncate(file.fd(), kSize + 50), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(StatOf(data()).st_size, static_cast<off_t>(kSize + 103));
    ASSERT_EQ(pwrite(file.fd(), "end", 3, kSize + 200), 3);
    EXPECT_EQ(StatOf(view()).st_size, static_cast<off_t>(kSize + 203));
    ASSERT_EQ(pwrite(file.fd(), "end", 3, kSize + 300), 3);
    EXPECT_EQ(fallocate(file.fd(), FALLOC_FL_ZERO_RANGE, kSize, 301), 0);
    ASSERT_EQ(pwrite(file.fd(), "end", 3, kSize + 400), 3);
    EXPECT_EQ(lseek(file.fd(), kSize + 400, SEEK_DATA),
              static_cast<off_t>(kSize + 400));
    EXPECT_EQ(fallocate(file.fd(), 0, kSize, kPage), -1);
    EXPECT_EQ(errno, EFBIG);
    EXPECT_EQ(lseek(file.fd(), 0, SEEK_END), static_cast<off_t>(kSize + 403));
    char bytes[4] = {};
    EXPECT_EQ(pread(file.fd(), bytes, 3, kSize + 300), 3);
    EXPECT_EQ(std::string(bytes, 3), std::string("\0nd", 3));
    EXPECT_EQ(pread(file.fd(), bytes, 4, kSize + 400), 3);
    ASSERT_EQ(ftruncate(file.fd(), 4 * kSize), 0);
    EXPECT_EQ(StatOf(view()).st_size, static_cast<off_t>(4 * kSize));
    ASSERT_EQ(pwrite(file.fd(), "x", 1, 4 * kSize), 1);
  }
  EXPECT_EQ(StatOf(view()).st_size, static_cast<off_t>(4 * kSize + 1));
  ASSERT_EQ(truncate(view().c_str(), 5 * kSize), 0);
  EXPECT_EQ(StatOf(view()).st_size, static_cast<off_t>(5 * kSize));
  EXPECT_EQ(StatOf(data()).st_size, static_cast<off_t>(5 * kSize));
  ExpectAllPassthrough();
}

TEST_F(MountPassthroughTest, StatTellsWhatWasWritten) {
  Fill();
  MustRun("touch -d @1000000000 " + (source_ / "disk") + " " + data() +
          " && truncate -s 64M " + data());
  Start();
  File file(view(), O_RDWR);
  // Of the open file: a name is looked up anew each time.
  const auto expect_host_times = [&](const char* after) {
    struct stat own = {};
    EXPECT_EQ(fstat(file.fd(), &own), 0);
    const struct stat host = StatOf(data());
    EXPECT_EQ(own.st_mtim.tv_sec, host.st_mtim.tv_sec) << after;
    EXPECT_EQ(own.st_mtim.tv_nsec, host.st_mtim.tv_nsec) << after;
    EXPECT_GE(own.st_blocks, host.st_blocks) << after;
  };
  expect_host_times("open");
  const blkcnt_t blocks = StatOf(view()).st_blocks;
  EXPECT_LT(blocks * 512, 64 << 20);
  const std::string bytes(8 << 20, 'b');
  ASSERT_EQ(pwrite(file.fd(), bytes.data(), bytes.size(), 32 << 20),
            static_cast<ssize_t>(bytes.size()));
  ASSERT_EQ(fsync(file.fd()), 0);
  expect_host_times("write");
  EXPECT_GE(StatOf(view()).st_blocks, blocks + (8 << 20) / 512);
  const Mapping mapping(file.fd());
  ASSERT_TRUE(mapping.ok());
  expect_host_times("mmap");
  mapping.WritePage(5, 'm');
  expect_host_times("a write to memory");
}

TEST_F(MountPassthroughTest, WhatTheDaemonZeroesReadsAsZeroesAtOnce) {
  Fill();
  Start();
  File file(view(), O_RDWR);
  File direct(view(), O_RDWR | O_DIRECT);
  const Mapping mapping(file.fd());
  ASSERT_TRUE(mapping.ok());
  MustRun("cat " + view() + " > /dev/null");
  int page = 16;
  for (const int mode : {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE}) {
    EXPECT_EQ(std::string(mapping.page(page), kPage),
              content_.substr(page * kPage, kPage));
    ASSERT_EQ(fallocate(file.fd(), mode, page * kPage, kCluster), 0);
    // Before the mapping is read, which on tmpfs fills a hole with pages.
    EXPECT_EQ(lseek(file.fd(), page * kPage, SEEK_DATA),
              static_cast<off_t>(page * kPage + kCluster));
    EXPECT_EQ(file.ReadPage(page), PageOf('\0'));
    EXPECT_EQ(direct.ReadPage(page + 1), PageOf('\0'));
    EXPECT_EQ(std::string(mapping.page(page + 2), kPage), PageOf('\0'));
    EXPECT_EQ(file.ReadPage(page - 1),
              content_.substr((page - 1) * kPage, kPage));
    page += 32;
  }
  EXPECT_EQ(lseek(file.fd(), 0, SEEK_HOLE), 16 * static_cast<off_t>(kPage));
  file.WritePage(16, 'a');
  EXPECT_EQ(direct.ReadPage(16), PageOf('a'));
  ExpectAllPassthrough();
}

TEST_F(MountPassthroughTest, WhatWasWrittenSurvivesTheDaemon) {
  Fill();
  const std::string mountpoint = work_ / "mnt";
  MustRun("mkdir " + mountpoint);
  daemon_ = std::make_unique<Daemon>(source_.path(), std::vector<std::string>{},
                                     mountpoint);
  ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
  auto file = std::make_unique<File>(view(), O_RDWR);
  file->WritePage(7, 'k');
  ASSERT_EQ(fsync(file->fd()), 0);
  file->WritePage(8, 'u');
  ExpectAllPassthrough();
  daemon_->Signal(SIGKILL);
  daemon_->WaitForExit();
  daemon_ = std::make_unique<Daemon>(source_.path(), std::vector<std::string>{},
                                     mountpoint);
  ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
  file.reset();
  File again(view(), O_RDWR);
  EXPECT_EQ(again.ReadPage(7), PageOf('k'));
  EXPECT_EQ(again.ReadPage(8), PageOf('u'));
  EXPECT_EQ(again.ReadPage(9), content_.substr(9 * kPage, kPage));
  ExpectAllPassthrough();
}

TEST_F(MountPassthroughTest, ADaemonWithoutItReadsTheSame) {
  Fill();
  Start();
  {
    File file(view(), O_RDWR);
    file.WritePage(0, 'p');
    ASSERT_EQ(pwrite(file.fd(), "grown", 5, kSize), 5);
  }
  Start({"-o", "passthrough=off"});
  MustRun("cmp " + data() + " " + view());
  EXPECT_EQ(StatOf(view()).st_size, static_cast<off_t>(kSize + 5));
  EXPECT_EQ(File(view(), O_RDONLY).ReadPage(0), PageOf('p'));
}

TEST_F(MountPassthroughTest, AGuestsFileSystemOnALoopDevice) {
  SKIP_WITHOUT_LOOP();
  // Without a backing file, all of the disk is the image's own at once.
  MakeAddCow(source_ / "guest", "", "guest.data", 16 << 20);
  Start();
  const std::string guest = work_ / "guest";
  {
    const LoopDevice loop(daemon_->File("guest.raw"));
    MustRun("mkfs.ext4 -q " + loop.path());
    const GuestMount mounted(loop.path(), guest);
    MustRun("cp " + (source_ / "base") + " " + guest + "/file && rm -rf " +
            guest + "/lost+found && sync -f " + guest + " && fstrim " + guest +
            " && cmp " + (source_ / "base") + " " + guest + "/file");
  }
  ExpectAllPassthrough();
  MustRun("e2fsck -f -n " + (source_ / "guest.data"));
}

// ---- The rest of what is agreed on with the kernel

TEST_F(MountPassthroughTest, WhatTheDaemonServesDirectlyCanBeMapped) {
  Start({"-o", "cache=none"});
  File file(view(), O_RDWR);
  const Mapping mapping(file.fd());
  ASSERT_TRUE(mapping.ok());
  mapping.WritePage(3, 'm');
  EXPECT_EQ(file.ReadPage(3), PageOf('m'));
  file.WritePage(3, 'w');
  EXPECT_EQ(std::string(mapping.page(3), kPage), PageOf('w'));
}

TEST_F(MountPassthroughTest, UsersWithoutRightsGrowAndWriteTheirView) {
  for (const bool flat : {false, true}) {
    if (flat) Fill();
    MustRun("chown 65534:65534 " + (source_ / "disk") + " && chmod 4600 " +
            (source_ / "disk"));
    Start({"-o", "allow_other"});
    MustRun(std::string(kAsNobody) + " sh -ec 'truncate -s +1M " + view() +
            "; echo user | dd conv=notrunc status=none of=" + view() +
            "; head -c 4 " + view() + " | grep -q user'");
    EXPECT_NE(Shell(std::string(kAsNobody) + " chmod 0666 " + view()).exit_code,
              0);
    EXPECT_EQ(StatOf(view()).st_mode, static_cast<mode_t>(S_IFREG | 0600));
    daemon_.reset();
    MustRun("rm " + (source_ / "disk") + " " + data());
    MakeAddCow(source_ / "disk", "base", "data", 0, kCluster);
  }
}

}  // namespace
}  // namespace flatcow
