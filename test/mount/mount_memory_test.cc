// SPDX-License-Identifier: Apache-2.0
//
// A daemon that has hardly any memory, under a guest that writes more than
// that: to free memory the kernel has to write dirty pages, and to write those
// it needs the daemon. The guest is outside the cap: inside the same cgroup of
// version 1, a daemon without CAP_SYS_RESOURCE would wait for itself.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "mount/daemon.h"
#include "mount/loop_device.h"
#include "mount/memory_cap.h"

namespace flatcow {
namespace {

constexpr uint64_t kCapBytes = 32 << 20;
constexpr int kDirtyMiB = 64;
constexpr int kRounds = 10;

// Breaks a deadlock that lasts for minutes, or nothing could be unmounted and
// the host would have to be rebooted.
class Watchdog {
 public:
  explicit Watchdog(const std::string& mountpoint)
      : connection_(ConnectionOf(mountpoint)), thread_([this] { Run(); }) {}
  ~Watchdog() {
    ended_.set_value();
    thread_.join();
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  static unsigned ConnectionOf(const std::string& mountpoint) {
    struct stat stat = {};
    EXPECT_EQ(::stat(mountpoint.c_str(), &stat), 0);
    return minor(stat.st_dev);
  }

  void Run() {
    if (ended_.get_future().wait_for(std::chrono::minutes(5)) ==
        std::future_status::ready) {
      return;
    }
    ADD_FAILURE() << "deadlock";
    MustRun(absl::StrCat("mount -t fusectl none ", directory_.path(),
                         " && echo 1 > ", directory_.path(), "/", connection_,
                         "/abort; umount ", directory_.path()));
  }

  TemporaryDirectory directory_;
  const unsigned connection_;
  std::promise<void> ended_;
  std::thread thread_;
};

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
    MustRun(absl::StrCat("for i in 1 2 3 4; do cat ", source_ / "noise", " > ",
                         guest, "/$i & done; wait; sync -f ", guest));
  }

  const MemoryCap cap_{kCapBytes};
  TemporaryDirectory source_;
  TemporaryDirectory work_;
};

TEST_P(MountMemoryTest, NothingWaitsForItself) {
  const ThroughProgram capped(cap_.Command());
  // What passes the daemon by needs none of its memory.
  Daemon daemon(source_.path(), {"-o", "passthrough=off"});
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  const Watchdog watchdog(daemon.mountpoint());
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
