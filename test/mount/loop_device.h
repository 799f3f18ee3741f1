// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_MOUNT_LOOP_DEVICE_H_
#define FLATCOW_TEST_MOUNT_LOOP_DEVICE_H_

#include <gtest/gtest.h>

#include <string>

#include "mount/daemon.h"

namespace flatcow {

// Skips the test where loop devices can't be had.
#define SKIP_WITHOUT_LOOP()                                               \
  do {                                                                    \
    if (Shell("losetup -f").exit_code != 0) {                             \
      GTEST_SKIP() << "no loop device: needs root and /dev/loop-control"; \
    }                                                                     \
  } while (false)

// A loop device on a file, for one scope.
class LoopDevice {
 public:
  explicit LoopDevice(const std::string& file,
                      const std::string& options = "--direct-io=on") {
    path_ = MustRun("losetup -f --show " + options + " " + file);
    while (!path_.empty() && path_.back() == '\n') path_.pop_back();
  }
  ~LoopDevice() { MustRun("losetup -d " + path_); }
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A guest's file system, mounted for one scope.
class GuestMount {
 public:
  GuestMount(const std::string& device, const std::string& directory,
             const std::string& options = "rw")
      : directory_(directory) {
    MustRun("mkdir -p " + directory);
    MustRun("mount -o " + options + " " + device + " " + directory);
  }
  ~GuestMount() { MustRun("umount " + directory_); }
  GuestMount(const GuestMount&) = delete;
  GuestMount& operator=(const GuestMount&) = delete;

 private:
  const std::string directory_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_MOUNT_LOOP_DEVICE_H_
