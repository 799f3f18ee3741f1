// SPDX-License-Identifier: Apache-2.0
//
// The daemon is killed at random moments under a load that keeps book of what
// was synced; what it finds after the next start must be that or newer.
//
// FLATCOW_KILL_ROUNDS says how many times, FLATCOW_SEED repeats one round's
// choices (the moment within it is left to chance).
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image_ops.h"
#include "model/disk_model.h"
#include "mount/daemon.h"
#include "mount/verified_load.h"
#include "mount/versioned_disk.h"

namespace flatcow {
namespace {

constexpr uint64_t kDiskBytes = (16 << 20) + 7 * 512;
constexpr uint64_t kRoundsOfAnImage = 5;

uint64_t Rounds() {
  const char* const value = std::getenv("FLATCOW_KILL_ROUNDS");
  return value != nullptr ? std::strtoull(value, nullptr, 10) : 50;
}

// One image after the other, of one format, with a mount point that is never
// cleared by hand.
class Patient {
 public:
  explicit Patient(std::string format) : format_(std::move(format)) {
    MustRun("mkdir " + mountpoint_);
  }
  ~Patient() { umount2(mountpoint_.c_str(), MNT_DETACH); }
  Patient(const Patient&) = delete;
  Patient& operator=(const Patient&) = delete;

  void Round(uint64_t seed) {
    random_.seed(seed);
    if (rounds_++ % kRoundsOfAnImage == 0) Renew();
    Daemon daemon = Start();
    if (!daemon.mounted()) return;
    Verify(daemon);
    LoadUntilKilled(daemon, seed);
    stale_ = true;
    // Else the next daemon is the first to see what is left.
    if (Below(2) == 0) Repair();
  }

  // The last image, up to a clean end.
  void Finish() {
    {
      Daemon daemon = Start();
      if (!daemon.mounted()) return;
      Verify(daemon);
      EXPECT_EQ(daemon.Stop(), 0) << daemon.Log();
      stale_ = false;
    }
    Repair();
  }

  uint64_t bad_sectors() const { return bad_sectors_; }

 private:
  uint64_t Below(uint64_t limit) { return random_() % limit; }
  std::string image() const { return source_ / "disk"; }

  void Renew() {
    if (disk_ != nullptr) Finish();
    MustRun("rm -f " + source_.path() + "/*");
    const bool with_base = Below(4) != 0;
    disk_ = std::make_unique<VersionedDisk>(
        kDiskBytes, with_base ? VersionedDisk::Content::kStamped
                              : VersionedDisk::Content::kZeroes);
    if (with_base) {
      const std::vector<uint8_t> bytes = disk_->Original();
      std::ofstream(source_ / "base", std::ios::binary)
          .write(reinterpret_cast<const char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()));
    }
    CreateOptions options;
    options.format = format_;
    options.size = kDiskBytes;
    options.cluster_size = uint32_t{4096} << Below(7);
    if (with_base) options.backing_file = "base";
    if (with_base) options.backing_format = "raw";
    if (format_ == "add-cow") options.data_file = "data";
    const auto created = CreateImage(PosixFileSystem(), image(), options);
    ASSERT_TRUE(created.ok()) << created.status();
  }

  Daemon Start() {
    std::vector<std::string> options = {
        "-o", absl::StrCat("commit=", 1 + 4 * Below(2))};
    if (Below(4) == 0) options.insert(options.end(), {"-o", "cache=none"});
    // An add-cow image without a base is one plain file from the start.
    if (Below(2) == 0) options.insert(options.end(), {"-o", "passthrough=off"});
    return Daemon(source_.path(), std::move(options), mountpoint_);
  }

  void Verify(const Daemon& daemon) {
    EXPECT_EQ(daemon.Log().find("a flatcow that died") != std::string::npos,
              stale_)
        << daemon.Log();
    EXPECT_EQ(VerifyView(daemon.File("disk.raw"), *disk_, bad_sectors_), "")
        << daemon.Log();
  }

  void LoadUntilKilled(Daemon& daemon, uint64_t seed) {
    const uint64_t fatal = 1 + Below(300);
    std::atomic<bool> killed{false};
    LoadOptions load;
    load.view = daemon.File("disk.raw");
    load.seed = seed;
    // Alone, a writer has only his own syncs to rely on.
    load.writers = std::array{1, 2, 6}[Below(3)];
    load.before_each = [&](uint64_t n) {
      if (n == fatal) {
        killed = true;
        daemon.Signal(SIGKILL);
      }
      return true;
    };
    load.on_error = [&](int error) {
      // EIO is the kernel's word for half of a direct write.
      const bool died = killed && (error == ENOTCONN || error == ECONNABORTED ||
                                   error == EIO);
      return died ? Verdict::kStop : Verdict::kFail;
    };
    EXPECT_EQ(RunLoad(*disk_, load), "") << daemon.Log();
    EXPECT_EQ(daemon.Log().find("disk.raw: "), std::string::npos)
        << daemon.Log();
    EXPECT_EQ(daemon.WaitForExit(), 256 + SIGKILL);
  }

  // At worst QED clusters that nothing refers to; those at the end of the file
  // are cut off, others stay.
  void Repair() {
    for (const char* repair : {"", "-r leaks ", ""}) {
      const CommandResult check =
          Shell(absl::StrCat(ToolBinary(), " check ", repair, image()));
      EXPECT_TRUE(check.exit_code == 0 ||
                  (check.exit_code == 3 && format_ == "qed"))
          << check.exit_code << "\n"
          << check.output;
    }
  }

  const std::string format_;
  TemporaryDirectory source_;
  TemporaryDirectory work_;
  const std::string mountpoint_ = work_ / "mnt";
  std::unique_ptr<VersionedDisk> disk_;
  std::mt19937_64 random_;
  uint64_t rounds_ = 0;
  bool stale_ = false;
  uint64_t bad_sectors_ = 0;
};

TEST(MountKillTest, WhatWasSyncedIsThereAfterwards) {
  SKIP_WITHOUT_FUSE();
  Patient qed("qed");
  Patient addcow("add-cow");
  uint64_t rounds = 0;
  while (rounds < Rounds() && !testing::Test::HasFailure()) {
    const uint64_t seed = SeedFor(rounds);
    SCOPED_TRACE(absl::StrCat("round ", rounds, ", FLATCOW_SEED=", seed));
    (rounds % 2 == 0 ? qed : addcow).Round(seed);
    ++rounds;
  }
  if (!testing::Test::HasFailure()) qed.Finish();
  if (!testing::Test::HasFailure()) addcow.Finish();
  std::cout << "kill rounds: " << rounds
            << ", lost fsyncs: " << qed.bad_sectors() + addcow.bad_sectors()
            << std::endl;
}

}  // namespace
}  // namespace flatcow
