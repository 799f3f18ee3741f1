// SPDX-License-Identifier: Apache-2.0
//
// The file system below runs full while guests write, and has space again.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/disk_model.h"
#include "mount/daemon.h"
#include "mount/verified_load.h"
#include "mount/versioned_disk.h"
#include "support/scoped_mount.h"

namespace flatcow {
namespace {

constexpr uint64_t kDiskBytes = 16 << 20;
constexpr uint64_t kFailuresWhileFull = 60;
constexpr uint64_t kOperationsAfterwards = 300;

class MountFullTest
    : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  std::string format() const { return std::get<0>(GetParam()); }
  std::string file_system() const { return std::get<1>(GetParam()); }
  std::string small() const { return work_ / "small"; }
  std::string filler() const { return small() + "/filler"; }

  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    MustRun("mkdir " + small() + " " + (work_ / "golden"));
    // Also what makes the mount namespace.
    tmpfs_ = std::make_unique<ScopedMount>("tmpfs", small(), "size=40m");
    if (!tmpfs_->mounted()) GTEST_SKIP() << tmpfs_->why_not();
    if (file_system() == "ext4") {
      if (Shell("losetup -f").exit_code != 0) {
        GTEST_SKIP() << "no loop device: needs root and /dev/loop-control";
      }
      tmpfs_.reset();
      MustRun("truncate -s 40M " + (work_ / "ext4") + " && mkfs.ext4 -q -m 0 " +
              (work_ / "ext4"));
      MustRun("mount -o loop " + (work_ / "ext4") + " " + small());
      loop_mounted_ = true;
    }
    MakeImage();
  }

  void TearDown() override {
    daemon_.reset();
    if (loop_mounted_) MustRun("umount " + small());
  }

  void MakeImage() {
    const std::vector<uint8_t> bytes = disk_.Original();
    std::ofstream(work_ / "golden/base", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    if (format() == "qed") {
      MakeQed(small() + "/disk", "../golden/base", "raw", 0, 16384);
    } else {
      MakeAddCow(small() + "/disk", "../golden/base", "data", 0, 16384);
    }
  }

  void Start() {
    daemon_ = std::make_unique<Daemon>(
        small(), std::vector<std::string>{"-o", "allow=" + (work_ / "golden")});
    ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
    view_ = daemon_->File("disk.raw");
  }

  // Leaves no more than some megabytes.
  void Fill() {
    MustRun("dd if=/dev/zero of=" + filler() +
            " bs=64k status=none 2>/dev/null; truncate -s -3M " + filler() +
            " && sync -f " + small());
  }
  void MakeSpace() { MustRun("rm " + filler() + " && sync -f " + small()); }

  void Verify() {
    uint64_t bad = 0;
    EXPECT_EQ(VerifyView(view_, disk_, bad), "") << daemon_->Log();
  }

  VersionedDisk disk_{kDiskBytes, VersionedDisk::Content::kStamped};
  TemporaryDirectory work_;
  std::unique_ptr<ScopedMount> tmpfs_;
  bool loop_mounted_ = false;
  std::unique_ptr<Daemon> daemon_;
  std::string view_;
};

// Whether the operation that a writer is in began after the space was there.
thread_local bool began_with_space = false;

TEST_P(MountFullTest, GuestsGetEnospcAndGoOnWhenThereIsSpace) {
  const uint64_t seed = SeedFor(0);
  SCOPED_TRACE(absl::StrCat("FLATCOW_SEED=", seed));
  Start();
  Fill();
  std::atomic<uint64_t> failures{0};
  std::atomic<uint64_t> operations_with_space{0};
  std::atomic<bool> space{false};
  LoadOptions load;
  load.view = view_;
  load.seed = seed;
  load.before_each = [&](uint64_t) {
    began_with_space = space;
    if (began_with_space) ++operations_with_space;
    return operations_with_space < kOperationsAfterwards;
  };
  load.on_error = [&](int error) {
    if (error != ENOSPC || began_with_space) return Verdict::kFail;
    if (++failures == kFailuresWhileFull) {
      MakeSpace();
      space = true;
    }
    return Verdict::kGoOn;
  };
  EXPECT_EQ(RunLoad(disk_, load), "") << daemon_->Log();
  EXPECT_GE(failures, kFailuresWhileFull);
  // The log says so, but not once for each of them.
  EXPECT_NE(daemon_->Log().find("No space left"), std::string::npos);
  EXPECT_LT(daemon_->Log().size(), 4096u) << daemon_->Log();
  Verify();
  EXPECT_EQ(daemon_->Stop(), 0) << daemon_->Log();
  const CommandResult check =
      Shell(ToolBinary() + " check " + small() + "/disk");
  EXPECT_EQ(check.exit_code, 0) << check.output;
  Start();
  Verify();
}

INSTANTIATE_TEST_SUITE_P(
    FormatsAndFileSystems, MountFullTest,
    testing::Combine(testing::Values("qed", "add-cow"),
                     testing::Values("ext4", "tmpfs")),
    [](const testing::TestParamInfo<MountFullTest::ParamType>& test) {
      return absl::StrCat(std::get<0>(test.param) == "qed" ? "Qed" : "AddCow",
                          "On",
                          std::get<1>(test.param) == "ext4" ? "Ext4" : "Tmpfs");
    });

}  // namespace
}  // namespace flatcow
