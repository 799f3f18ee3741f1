// SPDX-License-Identifier: Apache-2.0
//
// On a file system that shares blocks between files, copies take no space.
#include <gtest/gtest.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

#include "flatcow/image_ops.h"
#include "model/image_testing.h"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

constexpr uint64_t kSize = 64 << 20;
constexpr uint64_t kSlack = 4 << 20;

bool Succeeds(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

class SharedBlocksTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!Succeeds("mkfs.xfs -V")) GTEST_SKIP() << "no mkfs.xfs";
    if (!Succeeds("losetup -f")) GTEST_SKIP() << "no loop device";
    ASSERT_TRUE(Succeeds("cd " + work_.path() +
                         " && truncate -s 400M xfs && mkfs.xfs -q -m "
                         "reflink=1 xfs && mkdir mnt && mount -o loop xfs mnt"))
        << "XFS can't be mounted";
    mounted_ = true;
    content_ = PatternText(1, kSize);
    std::ofstream(Path("base"), std::ios::binary) << content_;
    const auto base =
        Must(PosixFileSystem().Open(Path("base"), Access::kReadWrite));
    Must(base->Sync());
  }
  void TearDown() override {
    EXPECT_TRUE(!mounted_ || Succeeds("umount " + work_ / "mnt"));
  }

  std::string Path(const std::string& name) const {
    return work_ / ("mnt/" + name);
  }
  uint64_t FreeBytes() const {
    struct statvfs info;
    EXPECT_EQ(statvfs(Path("").c_str(), &info), 0);
    return info.f_bfree * info.f_frsize;
  }
  std::unique_ptr<Image> Open(const std::string& name,
                              Access access = Access::kReadOnly) {
    return Must(OpenImage(PosixFileSystem(), Path(name), {.access = access}));
  }
  void MakeOverlay(const std::string& format) {
    Make(PosixFileSystem(), Path("overlay"),
         {.format = format,
          .backing_file = "base",
          .backing_format = "raw",
          .data_file = format == "qed" ? "" : "data"});
    const std::string own = PatternText(2, 1 << 20);
    const auto image = Open("overlay", Access::kReadWrite);
    WriteDisk(*image, 777, own);
    Must(image->Flush());
    Overwrite(content_, 777, own);
  }

  TemporaryDirectory work_;
  bool mounted_ = false;
  std::string content_;
};

TEST_F(SharedBlocksTest, Convert) {
  MakeOverlay("qed");
  const uint64_t before = FreeBytes();
  const ConvertResult result =
      Must(ConvertImage(PosixFileSystem(), Path("overlay"), Path("copy"), {}));
  EXPECT_EQ(result.written_bytes, kSize);
  EXPECT_GT(FreeBytes() + kSlack, before);
  EXPECT_TRUE(Shows(*Open("copy"), content_));
}

TEST_F(SharedBlocksTest, Flatten) {
  MakeOverlay("add-cow");
  const uint64_t before = FreeBytes();
  Must(FlattenImage(PosixFileSystem(), Path("overlay"), {}).status());
  EXPECT_GT(FreeBytes() + kSlack, before);
  EXPECT_TRUE(Shows(*Open("overlay"), content_));
  // The blocks are shared, the bytes are not.
  WriteDisk(*Open("data", Access::kReadWrite), 0, "changed");
  EXPECT_EQ(ReadDisk(*Open("base"), {0, 16}), PatternText(1, 16));
}

}  // namespace
}  // namespace flatcow
