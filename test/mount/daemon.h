// SPDX-License-Identifier: Apache-2.0
//
// The real daemon on a real mount, for one test.
//
//   TemporaryDirectory source;
//   Daemon daemon(source.path(), {"-o", "cache=none"});
//   if (!daemon.mounted()) GTEST_SKIP() << daemon.why_not();
//   open(daemon.File("vm.qed.raw"), ...)
//
// The daemon stays in the foreground and its log goes to a file. It is asked to
// stop, and waited for, in the destructor.
#ifndef FLATCOW_TEST_MOUNT_DAEMON_H_
#define FLATCOW_TEST_MOUNT_DAEMON_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "support/temporary_directory.h"

namespace flatcow {

// True when this machine can mount a FUSE file system; else `why_not` is set.
bool CanMount(std::string* why_not);

// Skips the test where no FUSE mount is possible.
#define SKIP_WITHOUT_FUSE()                                            \
  do {                                                                 \
    std::string skip_reason;                                           \
    if (!flatcow::CanMount(&skip_reason)) GTEST_SKIP() << skip_reason; \
  } while (false)

// Path of the binary under test, from FLATCOW_BINARY (FLATCOW_IMG_BINARY).
std::string DaemonBinary();
std::string ToolBinary();

// While it lives, daemons are started by `command`, which must exec what
// follows it: "setpriv --reuid=1", "strace -f -o trace".
class ThroughProgram {
 public:
  explicit ThroughProgram(const std::string& command);
  ~ThroughProgram();
  ThroughProgram(const ThroughProgram&) = delete;
  ThroughProgram& operator=(const ThroughProgram&) = delete;

 private:
  TemporaryDirectory directory_;
  const std::string before_;
};

class Daemon {
 public:
  // Mounts `source` on a fresh directory, or on `mountpoint` if not empty, and
  // returns when it answers or has given up.
  explicit Daemon(const std::string& source,
                  std::vector<std::string> arguments = {},
                  const std::string& mountpoint = "");
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  bool mounted() const { return mounted_; }
  pid_t pid() const { return pid_; }
  const std::string& mountpoint() const { return mountpoint_; }
  std::string File(const std::string& view) const {
    return mountpoint_ + "/" + view;
  }

  // What it has logged so far.
  std::string Log() const;
  // Waits until the log contains `text`. Return values: false after a minute.
  bool WaitForLog(const std::string& text) const;

  // Unmounts and waits for the end. Return values: the exit code; 256 plus the
  // signal that killed it.
  int Stop();
  void Signal(int signal) const;
  int WaitForExit();

 private:
  const std::unique_ptr<TemporaryDirectory> own_directory_;
  std::string mountpoint_;
  pid_t pid_ = -1;
  bool mounted_ = false;
  int exit_code_ = -1;
};

struct CommandResult {
  int exit_code = -1;
  std::string output;  // stdout and stderr
};

// Runs a shell command to its end.
CommandResult Shell(const std::string& command);

// EXPECTs that it exits with 0; returns its output.
std::string MustRun(const std::string& command);

// True when the program is on PATH.
bool HasProgram(const std::string& name);

// Writes a file of `size` bytes that say where they are from.
void MakeRawFile(const std::string& path, uint64_t tag, uint64_t size);

// flatcow-img create, through the library. `backing_format` may be empty.
void MakeQed(const std::string& path, const std::string& backing,
             const std::string& backing_format, uint64_t size = 0,
             uint32_t cluster_size = 0);
void MakeAddCow(const std::string& path, const std::string& backing,
                const std::string& image_file, uint64_t size = 0,
                uint32_t cluster_size = 0);

// A QED overlay whose backing file is recorded without being looked at.
void MakeUnchecked(const std::string& path, const std::string& backing);

}  // namespace flatcow

#endif  // FLATCOW_TEST_MOUNT_DAEMON_H_
