// SPDX-License-Identifier: Apache-2.0
//
// A mount for the length of a test, in a mount namespace of the test's own:
// nothing is left behind, whatever happens.
//
//   ScopedMount mount("tmpfs", directory);
//   if (!mount.mounted()) GTEST_SKIP() << mount.why_not();
#ifndef FLATCOW_TEST_SUPPORT_SCOPED_MOUNT_H_
#define FLATCOW_TEST_SUPPORT_SCOPED_MOUNT_H_

#include <sched.h>
#include <string.h>
#include <sys/mount.h>

#include <cerrno>
#include <string>

namespace flatcow {

class ScopedMount {
 public:
  ScopedMount(const std::string& type, const std::string& target,
              const std::string& options = "")
      : target_(target) {
    int error = NamespaceError();
    if (error == 0 &&
        mount("none", target.c_str(), type.c_str(), 0, options.c_str()) != 0) {
      error = errno;
    }
    mounted_ = error == 0;
    if (!mounted_) why_not_ = "cannot mount a " + type + ": " + strerror(error);
  }
  ~ScopedMount() {
    if (mounted_) umount2(target_.c_str(), MNT_DETACH);
  }
  ScopedMount(const ScopedMount&) = delete;
  ScopedMount& operator=(const ScopedMount&) = delete;

  bool mounted() const { return mounted_; }
  const std::string& why_not() const { return why_not_; }

 private:
  // Enters the namespace, once. Return values: 0 or an errno.
  static int NamespaceError() {
    static const int kError =
        unshare(CLONE_NEWNS) == 0 &&
                mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0
            ? 0
            : errno;
    return kError;
  }

  const std::string target_;
  bool mounted_ = false;
  std::string why_not_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_SUPPORT_SCOPED_MOUNT_H_
