// SPDX-License-Identifier: Apache-2.0
//
// QEMU's programs and flatcow keep each other out of images in use.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "interop/qemu.h"
#include "model/image_testing.h"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

class LockInteropTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!HaveQemu()) GTEST_SKIP() << "needs qemu-img and qemu-io";
    Make(files_, base_, {.size = 1 << 20});
    for (const std::string& path : {top_, other_}) {
      Make(files_, path,
           {.format = "qed",
            .backing_file = "base.raw",
            .backing_format = "raw"});
    }
  }

  absl::Status TryOpen(const std::string& path, Access access,
                       bool share = false) {
    return OpenImage(files_, path, {.access = access, .share_writes = share})
        .status();
  }

  // Opens the image for writing, writes, and ends.
  CommandResult QemuWrites(const std::string& path,
                           const std::string& format = "qed") {
    return RunCommand(
        {"qemu-io", "-f", format, "-c", "write -P 1 0 512", path});
  }
  CommandResult QemuReads(const std::string& path) {
    return RunCommand({"qemu-io", "-r", "-f", "qed", "-c", "read 0 512", path});
  }

  FileSystem& files_ = PosixFileSystem();
  TemporaryDirectory directory_;
  const std::string base_ = directory_ / "base.raw";
  const std::string top_ = directory_ / "top.qed";
  const std::string other_ = directory_ / "other.qed";
};

TEST_F(LockInteropTest, QemuWriterKeepsFlatcowOut) {
  const RunningQemuIo writer({"-f", "qed", top_});
  ASSERT_TRUE(writer.opened());
  const std::string holder = absl::StrCat("qemu-io (pid ", writer.pid(), ")");
  for (const Access access : {Access::kReadOnly, Access::kReadWrite}) {
    const absl::Status status = TryOpen(top_, access);
    EXPECT_TRUE(Fails(status, EBUSY, top_));
    EXPECT_TRUE(Fails(status, EBUSY, holder));
  }
  CheckOptions repair;
  repair.repair = Repair::kLeaks;
  EXPECT_TRUE(Fails(CheckImage(files_, top_, {}), EBUSY, holder));
  EXPECT_TRUE(Fails(CheckImage(files_, top_, repair), EBUSY, holder));
  EXPECT_TRUE(Fails(ReadImageInfo(files_, top_, {}), EBUSY, holder));
}

TEST_F(LockInteropTest, SharedReadingPassesAQemuWriter) {
  const RunningQemuIo writer({"-f", "qed", top_});
  ASSERT_TRUE(writer.opened());
  EXPECT_TRUE(TryOpen(top_, Access::kReadOnly, /*share=*/true).ok());
}

TEST_F(LockInteropTest, AnImageIsFreeOnceQemuHasEnded) {
  { const RunningQemuIo writer({"-f", "qed", top_}); }
  EXPECT_TRUE(TryOpen(top_, Access::kReadWrite).ok());
}

TEST_F(LockInteropTest, QemuReaderKeepsAFlatcowWriterOut) {
  const RunningQemuIo reader({"-r", "-f", "qed", top_});
  ASSERT_TRUE(reader.opened());
  EXPECT_TRUE(TryOpen(top_, Access::kReadOnly).ok());
  EXPECT_TRUE(Fails(TryOpen(top_, Access::kReadWrite), EBUSY, "qemu-io"));
}

TEST_F(LockInteropTest, QemuReaderKeepsAnOpenImageFromBecomingWritable) {
  const auto image = Must(OpenImage(files_, top_, {}));
  {
    const RunningQemuIo reader({"-r", "-f", "qed", top_});
    ASSERT_TRUE(reader.opened());
    EXPECT_TRUE(Fails(image->MakeWritable(), EBUSY, "qemu-io"));
  }
  EXPECT_TRUE(image->MakeWritable().ok());
}

TEST_F(LockInteropTest, FlatcowWriterKeepsQemuOut) {
  const auto image = Must(OpenImage(files_, top_, Writable()));
  const CommandResult write = QemuWrites(top_);
  EXPECT_NE(write.exit_code, 0);
  EXPECT_NE(write.output.find("lock"), std::string::npos) << write.output;
  const CommandResult read = QemuReads(top_);
  EXPECT_NE(read.exit_code, 0);
  EXPECT_NE(read.output.find("lock"), std::string::npos) << read.output;
  EXPECT_EQ(RunCommand({"qemu-img", "info", "-U", top_}).exit_code, 0);
}

TEST_F(LockInteropTest, QemuMayWriteOnceFlatcowHasClosed) {
  auto image = Must(OpenImage(files_, top_, Writable()));
  image.reset();
  const CommandResult write = QemuWrites(top_);
  EXPECT_EQ(write.exit_code, 0) << write.output;
}

TEST_F(LockInteropTest, FlatcowReaderKeepsQemuWriterOutOnly) {
  const auto image = Must(OpenImage(files_, top_, {}));
  EXPECT_EQ(QemuReads(top_).exit_code, 0);
  EXPECT_NE(QemuWrites(top_).exit_code, 0);
}

TEST_F(LockInteropTest, MadeWritableKeepsQemuReadersOut) {
  const auto image = Must(OpenImage(files_, top_, {}));
  Must(image->MakeWritable());
  EXPECT_NE(QemuReads(top_).exit_code, 0);
}

TEST_F(LockInteropTest, FlatcowProtectsABackingFileFromQemu) {
  const auto image = Must(OpenImage(files_, top_, {}));
  EXPECT_NE(QemuWrites(base_, "raw").exit_code, 0);
}

TEST_F(LockInteropTest, QemuWriterOfTheBackingFileKeepsOverlaysShut) {
  const RunningQemuIo writer({"-f", "raw", base_});
  ASSERT_TRUE(writer.opened());
  const absl::Status status = TryOpen(top_, Access::kReadOnly);
  EXPECT_TRUE(Fails(status, EBUSY, base_));
  EXPECT_TRUE(Fails(status, EBUSY, "qemu-io"));
}

TEST_F(LockInteropTest, OverlaysOfBothShareABackingFile) {
  const RunningQemuIo writer({"-f", "qed", other_});
  ASSERT_TRUE(writer.opened());
  const auto image = Must(OpenImage(files_, top_, Writable()));
  WriteDisk(*image, 0, "x");
}

TEST_F(LockInteropTest, QemuWriterOfTheImageFileKeepsFlatcowOut) {
  const std::string path = directory_ / "t.acow";
  Make(files_, path,
       {.format = "add-cow",
        .backing_file = "base.raw",
        .backing_format = "raw",
        .data_file = "img.raw"});
  const RunningQemuIo writer({"-f", "raw", directory_ / "img.raw"});
  ASSERT_TRUE(writer.opened());
  for (const Access access : {Access::kReadOnly, Access::kReadWrite}) {
    EXPECT_TRUE(Fails(TryOpen(path, access), EBUSY, directory_ / "img.raw"));
  }
}

TEST_F(LockInteropTest, FlatcowProtectsAnImageFileFromQemu) {
  const std::string path = directory_ / "t.acow";
  Make(files_, path,
       {.format = "add-cow",
        .backing_file = "base.raw",
        .backing_format = "raw",
        .data_file = "img.raw"});
  const auto image = Must(OpenImage(files_, path, Writable()));
  EXPECT_NE(QemuWrites(directory_ / "img.raw", "raw").exit_code, 0);
}

}  // namespace
}  // namespace flatcow
