// SPDX-License-Identifier: Apache-2.0
//
// Daemons that a plain user runs.
//
//   if (geteuid() != 0) GTEST_SKIP() << ...;
//   AdmitUsers(work_ / "admit");
//   if (IsSkipped()) return;
//   const ThroughProgram nobody(kAsNobody);
#ifndef FLATCOW_TEST_MOUNT_PLAIN_USER_H_
#define FLATCOW_TEST_MOUNT_PLAIN_USER_H_

#include <gtest/gtest.h>

#include <string>

#include "mount/daemon.h"
#include "support/scoped_mount.h"

namespace flatcow {

inline constexpr char kAsNobody[] =
    "setpriv --reuid=65534 --regid=65534 --clear-groups";

// In a mount namespace of the test's own, for hosts where users may not use
// the device or ask for allow_root. `directory` is made. Skips the test where
// users cannot mount.
inline void AdmitUsers(const std::string& directory) {
  if (!HasProgram("fusermount3")) GTEST_SKIP() << "needs fusermount3";
  MustRun("mkdir " + directory);
  const ScopedMount files("tmpfs", directory, "mode=755");
  if (!files.mounted()) GTEST_SKIP() << files.why_not();
  MustRun("cp -a /dev/fuse " + directory + " && chmod 0666 " + directory +
          "/fuse && mount --bind " + directory + "/fuse /dev/fuse");
  MustRun("echo user_allow_other > " + directory + "/conf && mount --bind " +
          directory + "/conf /etc/fuse.conf");
}

// Another file in a file's place, in the mount namespace of the test.
class BoundFile {
 public:
  BoundFile(const std::string& file, const std::string& place) : place_(place) {
    MustRun("mount --bind " + file + " " + place);
  }
  ~BoundFile() { MustRun("umount " + place_); }
  BoundFile(const BoundFile&) = delete;
  BoundFile& operator=(const BoundFile&) = delete;

 private:
  const std::string place_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_MOUNT_PLAIN_USER_H_
