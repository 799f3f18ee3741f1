// SPDX-License-Identifier: Apache-2.0
//
// A daemon that has hardly any memory, under a guest that writes more than
// that: to free memory the kernel has to write dirty pages, and to write those
// it needs the daemon.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "mount/daemon.h"
#include "mount/loop_device.h"
#include "mount/memory_cap.h"

namespace flatcow {
namespace {

constexpr uint64_t kCapBytes = 32 << 20;
constexpr int kDirtyMiB = 64;
constexpr int kRounds = 20;

class MountMemoryTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    SKIP_WITHOUT_LOOP();
    if (!cap_.ok()) GTEST_SKIP() << "no memory cgroup can be made";
    if (GetParam() == "qed") {
      MakeQed(source_ / "disk", "", "", 256 << 20);
    } else {
      MakeAddCow(source_ / "disk", "", "data", 256 << 20);
    }
  }

  // One writer and several, each with more than the cap.
  void Dirty(const std::string& guest) {
    MustRun(absl::StrCat("rm -f ", guest, "/*; dd if=/dev/zero of=", guest,
                         "/one bs=1M count=", kDirtyMiB,
                         " status=none; sync -f ", guest));
    MustRun(absl::StrCat("for i in 1 2 3 4; do head -c ", kDirtyMiB / 4, "M ",
                         source_ / "noise", " > ", guest,
                         "/$i & done; wait; sync -f ", guest));
  }

  const MemoryCap cap_{kCapBytes};
  TemporaryDirectory source_;
  TemporaryDirectory work_;
};

TEST_P(MountMemoryTest, NothingWaitsForItself) {
  const ThroughProgram capped(cap_.Command());
  Daemon daemon(source_.path());
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  const std::string view = daemon.File("disk.raw");
  MustRun(absl::StrCat("head -c ", kDirtyMiB / 4, "M /dev/urandom > ",
                       source_ / "noise"));
  MustRun("mkfs.ext4 -q -E lazy_itable_init=0 " + view);
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    SCOPED_TRACE(absl::StrCat("round ", round));
    // Through the page cache of the view in every second round.
    LoopDevice loop(view, round % 2 == 0 ? "--direct-io=on" : "");
    GuestMount guest(loop.path(), work_ / "guest");
    Dirty(work_ / "guest");
    MustRun("cmp " + (source_ / "noise") + " " + (work_ / "guest/4"));
  }
  EXPECT_GT(cap_.TimesReached(), 0u);
  MustRun("e2fsck -f -n " + view);
  EXPECT_EQ(daemon.Stop(), 0) << daemon.Log();
}

INSTANTIATE_TEST_SUITE_P(Formats, MountMemoryTest,
                         testing::Values("qed", "addcow"),
                         [](const testing::TestParamInfo<std::string>& format) {
                           return format.param;
                         });

}  // namespace
}  // namespace flatcow
