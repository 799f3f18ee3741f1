// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_MOUNT_MEMORY_CAP_H_
#define FLATCOW_TEST_MOUNT_MEMORY_CAP_H_

#include <cstdint>
#include <string>

namespace flatcow {

// A limit for the memory of processes, page cache included: a cgroup of version
// 1 or 2, whichever the host has, and removed at the end of the scope.
class MemoryCap {
 public:
  explicit MemoryCap(uint64_t bytes);
  ~MemoryCap();
  MemoryCap(const MemoryCap&) = delete;
  MemoryCap& operator=(const MemoryCap&) = delete;

  // False where no such cgroup can be made.
  bool ok() const { return !path_.empty(); }

  // What starts a program under the cap: "COMMAND PROGRAM ARGUMENTS".
  std::string Command() const;

  // How often the cap was reached.
  uint64_t TimesReached() const;

 private:
  std::string path_;
  std::string counter_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_MOUNT_MEMORY_CAP_H_
