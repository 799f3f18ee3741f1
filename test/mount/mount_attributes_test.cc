// SPDX-License-Identifier: Apache-2.0
//
// What getxattr(2) says of a view, and that it costs a writer nothing.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "flatcow/image.h"
#include "mount/daemon.h"
#include "mount/read_metric.h"

namespace flatcow {
namespace {

using Attributes = std::map<std::string, std::string>;

class MountAttributesTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    MakeRawFile(source_ / "base", 1, 65536);
    MakeQed(source_ / "mid", "base", "raw");
    MakeQed(source_ / "top", "mid", "");
  }

  // Skips the test where the kernel would ask before each write.
  void Start(const std::vector<std::string>& arguments = {}) {
    daemon_ = std::make_unique<Daemon>(source_.path(), arguments);
    ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
    if (listxattr(daemon_->File("top.raw").c_str(), nullptr, 0) < 0) {
      ASSERT_EQ(errno, ENOTSUP);
      GTEST_SKIP() << "needs FUSE_HANDLE_KILLPRIV_V2, of Linux 5.11";
    }
  }

  // Without "user.flatcow.", which all of them begin with.
  Attributes AllOf(const std::string& view) {
    const std::string file = daemon_->File(view);
    std::vector<char> names(65536);
    const ssize_t length = listxattr(file.c_str(), names.data(), names.size());
    EXPECT_GE(length, 0) << view;
    EXPECT_EQ(listxattr(file.c_str(), nullptr, 0), length);
    Attributes attributes;
    for (const char* name = names.data(); name < names.data() + length;
         name += std::string(name).size() + 1) {
      EXPECT_EQ(std::string(name).rfind("user.flatcow.", 0), 0u) << name;
      attributes[std::string(name).substr(13)] = Value(file, name);
    }
    return attributes;
  }

  static std::string Value(const std::string& file, const char* name) {
    std::vector<char> value(65536);
    const ssize_t length =
        getxattr(file.c_str(), name, value.data(), value.size());
    EXPECT_GE(length, 0) << file << ": " << name;
    EXPECT_EQ(getxattr(file.c_str(), name, nullptr, 0), length);
    return std::string(value.data(),
                       length < 0 ? 0 : static_cast<size_t>(length));
  }

  TemporaryDirectory source_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(MountAttributesTest, TellWhatTheImageSays) {
  MakeAddCow(source_ / "cow", "base", "data");
  Start();
  if (IsSkipped()) return;
  EXPECT_EQ(
      AllOf("top.raw"),
      (Attributes{{"format", "qed"},
                  {"image", source_ / "top"},
                  {"backing", (source_ / "mid") + "\n" + (source_ / "base")},
                  {"virtual_size", "65536"},
                  {"cluster_size", "65536"},
                  {"allocated_clusters", "0"},
                  {"all_allocated", "0"},
                  {"dirty_metadata", "0"},
                  {"passthrough", "0"}}));
  EXPECT_EQ(AllOf("cow.raw"), (Attributes{{"format", "add-cow"},
                                          {"image", source_ / "cow"},
                                          {"backing", source_ / "base"},
                                          {"virtual_size", "65536"},
                                          {"cluster_size", "65536"},
                                          {"allocated_clusters", "0"},
                                          {"all_allocated", "0"},
                                          {"dirty_metadata", "0"},
                                          {"passthrough", "0"}}));
  EXPECT_EQ(listxattr(daemon_->mountpoint().c_str(), nullptr, 0), 0);
}

TEST_F(MountAttributesTest, ALargerDiskAndALostBackingFileShow) {
  Start();
  if (IsSkipped()) return;
  const std::string top = daemon_->File("top.raw");
  const int fd = open(top.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(ftruncate(fd, 131072), 0);
  EXPECT_EQ(Value(top, "user.flatcow.virtual_size"), "131072");
  close(fd);
  MustRun("rm " + (source_ / "mid"));
  EXPECT_EQ(Value(top, "user.flatcow.backing"), source_ / "mid");
}

TEST_F(MountAttributesTest, FollowWhatIsWritten) {
  Start({"-o", "commit=3600"});
  if (IsSkipped()) return;
  const std::string top = daemon_->File("top.raw");
  const int fd = open(top.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(pwrite(fd, "new", 3, 100), 3);
  EXPECT_EQ(Value(top, "user.flatcow.allocated_clusters"), "1");
  EXPECT_EQ(Value(top, "user.flatcow.dirty_metadata"), "1");
  ASSERT_EQ(fsync(fd), 0);
  EXPECT_EQ(Value(top, "user.flatcow.dirty_metadata"), "0");
  close(fd);
  EXPECT_EQ(Value(top, "user.flatcow.allocated_clusters"), "1");
}

TEST_F(MountAttributesTest, ALockedImageHasNoCountOfClusters) {
  Start();
  if (IsSkipped()) return;
  {
    // As QEMU has it open.
    const auto writer = OpenImage(PosixFileSystem(), source_ / "top",
                                  {.access = Access::kReadWrite});
    ASSERT_TRUE(writer.ok()) << writer.status();
    Attributes attributes = AllOf("top.raw");
    EXPECT_EQ(attributes.count("allocated_clusters"), 0u);
    EXPECT_EQ(attributes["format"], "qed");
    EXPECT_EQ(getxattr(daemon_->File("top.raw").c_str(),
                       "user.flatcow.allocated_clusters", nullptr, 0),
              -1);
    EXPECT_EQ(errno, ENODATA);
  }
  EXPECT_EQ(AllOf("top.raw")["allocated_clusters"], "0");
}

TEST_F(MountAttributesTest, SayWhoServes) {
  MakeAddCow(source_ / "flat", "", "data", 1 << 20);
  Start();
  if (IsSkipped()) return;
  const std::string flat = daemon_->File("flat.raw");
  EXPECT_EQ(Value(flat, "user.flatcow.passthrough"), "0");
  const int fd = open(flat.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(Value(flat, "user.flatcow.passthrough"),
            ReadMetric(*daemon_, "flatcow_passthrough_views") == 1 ? "1" : "0");
  close(fd);
}

TEST_F(MountAttributesTest, ADamagedImageHasItsPathOnly) {
  MustRun("printf '\\377\\377' | dd of=" + (source_ / "mid") +
          " bs=1 seek=4 conv=notrunc status=none");
  Start();
  if (IsSkipped()) return;
  if (geteuid() != 0) GTEST_SKIP() << "its view has no read permission";
  EXPECT_EQ(AllOf("mid.raw"), (Attributes{{"image", source_ / "mid"}}));
}

TEST_F(MountAttributesTest, AReadOnlyViewSaysWhy) {
  if (!HasProgram("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  MustRun("qemu-img create -q -f qcow2 " + (source_ / "cloud") + " 1M");
  Start();
  if (IsSkipped()) return;
  Attributes attributes = AllOf("cloud.raw");
  EXPECT_EQ(attributes["format"], "qcow2");
  EXPECT_NE(attributes["read_only"].find("external data file"),
            std::string::npos);
  EXPECT_EQ(attributes.count("backing"), 0u);
}

TEST_F(MountAttributesTest, OthersAreNotThereAndNoneIsSet) {
  Start();
  if (IsSkipped()) return;
  const std::string top = daemon_->File("top.raw");
  char value[4];
  for (const char* name :
       {"user.flatcow.read_only", "user.flatcow.foo", "user.flatcow.",
        "user.other", "security.capability"}) {
    EXPECT_EQ(getxattr(top.c_str(), name, value, sizeof(value)), -1) << name;
    EXPECT_EQ(errno, ENODATA) << name;
  }
  EXPECT_EQ(getxattr(top.c_str(), "user.flatcow.image", value, sizeof(value)),
            -1);
  EXPECT_EQ(errno, ERANGE);
  EXPECT_EQ(setxattr(top.c_str(), "user.flatcow.image", "x", 1, 0), -1);
  EXPECT_EQ(errno, ENOTSUP);
  EXPECT_EQ(removexattr(top.c_str(), "user.flatcow.image"), -1);
  EXPECT_EQ(errno, ENOTSUP);
}

// The kernel asks whether a file has capabilities that a write must take away,
// unless it knows that there are none.
TEST_F(MountAttributesTest, WritesAskForNone) {
  constexpr int kWrites = 300;
  // Without a backing file all is allocated: where the daemon may, it passes
  // writes on to the kernel.
  MakeAddCow(source_ / "flat", "", "data", 1 << 20);
  Start({"-d"});
  if (IsSkipped()) return;
  void* memory = nullptr;
  ASSERT_EQ(posix_memalign(&memory, 4096, 4096), 0);
  const std::unique_ptr<void, decltype(&free)> buffer(memory, free);
  for (const char* view : {"top.raw", "flat.raw"}) {
    for (const int flags : {O_RDWR, O_WRONLY, O_RDWR | O_DIRECT}) {
      const int fd = open(daemon_->File(view).c_str(), flags | O_CLOEXEC);
      ASSERT_GE(fd, 0);
      for (int i = 0; i < kWrites; ++i) {
        ASSERT_EQ(pwrite(fd, memory, 4096, i % 16 * 4096), 4096);
      }
      close(fd);
    }
  }
  Value(daemon_->File("top.raw"), "user.flatcow.image");
  const std::string log = daemon_->Log();
  const auto count = [&log](const std::string& word) {
    int found = 0;
    for (size_t at = log.find(word); at != std::string::npos;
         at = log.find(word, at + 1)) {
      ++found;
    }
    return found;
  };
  EXPECT_GE(count("opcode: WRITE "), 3 * kWrites);
  // Ours, and perhaps one after an open, when the kernel has looked at the file
  // again.
  EXPECT_GE(count("opcode: GETXATTR "), 2);
  EXPECT_LE(count("opcode: GETXATTR "), 2 + 2 * 3);
}

}  // namespace
}  // namespace flatcow
