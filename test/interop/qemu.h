// SPDX-License-Identifier: Apache-2.0
//
// QEMU's programs, as another implementation to agree with.
#ifndef FLATCOW_TEST_INTEROP_QEMU_H_
#define FLATCOW_TEST_INTEROP_QEMU_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace flatcow {

// Are qemu-img and qemu-io there?
bool HaveQemu();

struct CommandResult {
  int exit_code = 0;
  std::string output;  // of stderr too
};

CommandResult RunCommand(const std::vector<std::string>& command);

// The same, but the test ends when the command fails.
std::string MustRun(const std::vector<std::string>& command);

// A qemu-io that has an image open until it is closed.
class RunningQemuIo {
 public:
  // Returns once it has opened the image, or has failed to.
  explicit RunningQemuIo(const std::vector<std::string>& arguments);
  // Waits for its end, after which all its locks are gone.
  ~RunningQemuIo();
  RunningQemuIo(const RunningQemuIo&) = delete;
  RunningQemuIo& operator=(const RunningQemuIo&) = delete;

  bool opened() const { return opened_; }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
  bool opened_ = false;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_INTEROP_QEMU_H_
