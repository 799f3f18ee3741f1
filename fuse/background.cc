// SPDX-License-Identifier: Apache-2.0
#include "background.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "flatcow/status.h"

namespace flatcow::daemon {
namespace {

[[noreturn]] void ExitAsChildSays(int from_child) {
  unsigned char exit_code = 2;
  ssize_t length;
  do {
    length = read(from_child, &exit_code, 1);
  } while (length < 0 && errno == EINTR);
  _exit(length == 1 ? exit_code : 2);
}

}  // namespace

absl::Status Background::Fork() {
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) return ErrnoError(errno, "pipe");
  UniqueFd from_child(pipe_ends[0]);
  to_parent_ = UniqueFd(pipe_ends[1]);
  const pid_t child = fork();
  if (child < 0) return ErrnoError(errno, "fork");
  if (child > 0) {
    to_parent_.Reset();
    ExitAsChildSays(from_child.get());
  }
  forked_ = true;
  return absl::OkStatus();
}

void Background::Report(int exit_code) {
  const auto byte = static_cast<unsigned char>(exit_code);
  [[maybe_unused]] const ssize_t written = write(to_parent_.get(), &byte, 1);
  to_parent_.Reset();
}

void Background::Succeed() {
  if (!forked_ || reported_.exchange(true)) return;
  setsid();
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.ok()) {
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      dup2(null.get(), stream);
    }
  }
  Report(0);
}

void Background::Fail(int exit_code) {
  if (!forked_ || reported_.exchange(true)) return;
  Report(exit_code);
}

}  // namespace flatcow::daemon
