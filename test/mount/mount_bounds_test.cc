// SPDX-License-Identifier: Apache-2.0
//
// What images and guests claim has no power over the daemon: not over its
// memory, its log, or what it takes a file for.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image_ops.h"
#include "mount/daemon.h"

namespace flatcow {
namespace {

class MountBoundsTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    for (const char* name : {"base", "golden"}) {
      MakeRawFile(source_ / name, 1, 1 << 20);
    }
  }

  TemporaryDirectory source_;
};

// ---- Memory

uint64_t PeakMemoryKib(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/status"));
  for (std::string word; file >> word;) {
    uint64_t kib = 0;
    if (word == "VmHWM:" && file >> kib) return kib;
  }
  ADD_FAILURE() << "no VmHWM";
  return 0;
}

// An empty QED image without backing file. Not by CreateImage, which does not
// make what QEMU can't open.
void ClaimQed(const std::string& path, uint64_t size, uint32_t cluster_size,
              uint32_t table_size) {
  std::ofstream file(path, std::ios::binary);
  const auto put = [&file](auto value) {
    file.write(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  file.write("QED", 4);
  for (const uint32_t word : {cluster_size, table_size, uint32_t{1}}) put(word);
  for (int feature = 0; feature < 3; ++feature) put(uint64_t{0});
  put(uint64_t{cluster_size});  // where the L1 table is
  put(size);
  put(uint64_t{0});
  file.close();
  ASSERT_EQ(truncate(path.c_str(), (off_t{table_size} + 1) * cluster_size), 0);
}

// The most that the daemon occupied while ten such images were used at both
// ends and in the middle.
uint64_t PeakWithImagesOf(uint64_t size, uint32_t cluster_size,
                          uint32_t table_size) {
  constexpr int kImages = 10;
  TemporaryDirectory source;
  for (int i = 0; i < kImages; ++i) {
    ClaimQed(source / absl::StrCat("disk", i), size, cluster_size, table_size);
  }
  Daemon daemon(source.path());
  EXPECT_TRUE(daemon.mounted()) << daemon.Log();
  std::vector<int> views;
  for (int i = 0; i < kImages; ++i) {
    const std::string view = daemon.File(absl::StrCat("disk", i, ".raw"));
    views.push_back(open(view.c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_GE(views.back(), 0) << daemon.Log();
    for (const uint64_t offset : {uint64_t{0}, size / 2, size - 4096}) {
      char data[4096] = "data";
      const auto at = static_cast<off_t>(offset);
      EXPECT_EQ(pread(views.back(), data, sizeof(data), at), 4096);
      EXPECT_EQ(pwrite(views.back(), data, sizeof(data), at), 4096);
    }
    EXPECT_EQ(fsync(views.back()), 0) << daemon.Log();
  }
  const uint64_t peak = PeakMemoryKib(daemon.pid());
  for (const int view : views) close(view);
  return peak;
}

TEST_F(MountBoundsTest, HugeImagesTakeTheMemoryOfSmallOnes) {
  constexpr uint64_t kMiB = 1 << 20;
  const uint64_t small = PeakWithImagesOf(64 * kMiB, 65536, 4);
  const uint64_t huge = PeakWithImagesOf(64 * kMiB * kMiB, 64 * kMiB, 16);
  RecordProperty("small_kib", std::to_string(small));
  RecordProperty("huge_kib", std::to_string(huge));
  // One of their tables is 1 GiB.
  EXPECT_LT(huge, small + 16 * 1024);
}

// ---- The log

// In ISO 8859 and, behind 0xc2, in UTF-8; "größe" has a byte like that.
bool IsControl(unsigned char byte) {
  return byte < 0x20 || (byte >= 0x7f && byte < 0xa0 && byte != 0x9f);
}

TEST_F(MountBoundsTest, NamesCannotWriteTheLog) {
  for (const std::string name : {"two\nflatcow: lines", "\033]0;title\007",
                                 "\x9b"
                                 "31m",
                                 "\xc2\x9b"
                                 "31m",
                                 "\r", "größe"}) {
    std::ofstream(source_ / name) << std::string("QED\0", 4);
    CreateOptions options;
    options.format = "qed";
    options.size = 65536;
    options.backing_file = name + "missing";
    options.backing_format = "raw";
    options.unsafe_backing = true;
    const auto created =
        CreateImage(PosixFileSystem(), source_ / ("link" + name), options);
    ASSERT_TRUE(created.ok()) << created.status();
  }
  Daemon daemon(source_.path());
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  EXPECT_NE(Shell("cat " + daemon.mountpoint() + "/*").exit_code, 0);
  EXPECT_EQ(daemon.Stop(), 0);
  std::istringstream log(daemon.Log());
  int lines = 0;
  for (std::string line; std::getline(log, line); ++lines) {
    EXPECT_EQ(line.find("flatcow: "), 0u) << line;
    EXPECT_NE(line, "flatcow: lines.raw") << line;
    EXPECT_FALSE(std::any_of(line.begin(), line.end(), IsControl)) << line;
  }
  EXPECT_GE(lines, 10);
  EXPECT_NE(daemon.Log().find("größe"), std::string::npos);
}

// ---- Formats

// The bytes of an image with a link to `secret`, which a guest may write into
// its disk.
std::string HeaderOf(const std::string& format, const std::string& secret) {
  TemporaryDirectory directory;
  const std::string path = directory / "image";
  MustRun(format == "qcow2"
              ? absl::StrCat("qemu-img create -q -f qcow2 -u -b ", secret,
                             " -F raw ", path, " 1M")
              : absl::StrCat(ToolBinary(), " create -q -f ", format, " -u -b ",
                             secret, " -F raw ",
                             format == "qed" ? "" : "-o image_file=data ", path,
                             " 1M"));
  std::ifstream file(path, std::ios::binary);
  std::string header(65536, '\0');
  file.read(header.data(), static_cast<std::streamsize>(header.size()));
  return header;
}

TEST_F(MountBoundsTest, AGuestsBytesChooseNoFormat) {
  if (!HasProgram("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  MakeRawFile(source_ / "secret", 2, 1 << 20);
  MakeAddCow(source_ / "own", "base", "own.data");
  MakeAddCow(source_ / "alone", "", "alone.data", 1 << 20);
  MakeQed(source_ / "qed", "base", "raw");
  MakeAddCow(source_ / "over-base", "golden", "over.data");
  for (const char* format : {"qed", "add-cow", "qcow2"}) {
    SCOPED_TRACE(format);
    const std::string header = HeaderOf(format, source_ / "secret");
    // A base is the disk of an earlier guest.
    std::fstream(source_ / "golden",
                 std::ios::binary | std::ios::in | std::ios::out)
        .write(header.data(), static_cast<std::streamsize>(header.size()));
    for (const bool remounted : {false, true}) {
      Daemon daemon(source_.path());
      ASSERT_TRUE(daemon.mounted()) << daemon.Log();
      for (const char* image : {"own", "alone", "qed", "over-base"}) {
        const std::string view = daemon.File(absl::StrCat(image, ".raw"));
        const int fd = open(view.c_str(), O_RDWR | O_CLOEXEC);
        ASSERT_GE(fd, 0) << view << daemon.Log();
        const auto length = static_cast<ssize_t>(header.size());
        if (!remounted && image != std::string("over-base")) {
          EXPECT_EQ(pwrite(fd, header.data(), header.size(), 0), length);
        }
        std::string shown(header.size(), '\0');
        EXPECT_EQ(pread(fd, shown.data(), shown.size(), 0), length);
        EXPECT_TRUE(shown == header) << view;
        close(fd);
      }
      EXPECT_EQ(MustRun("ls -A " + daemon.mountpoint() + " | wc -l"), "4\n");
    }
  }
}

}  // namespace
}  // namespace flatcow
