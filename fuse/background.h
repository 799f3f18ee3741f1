// SPDX-License-Identifier: Apache-2.0
//
// Going to the background only when there is something to show for it.
//
//   Background background;
//   background.Fork();             // returns in the child only
//   ...                            // mount; errors still reach the terminal
//   background.Succeed();          // the parent exits with 0
//   background.Fail(32);           // or: the parent exits with 32
#ifndef FLATCOW_FUSE_BACKGROUND_H_
#define FLATCOW_FUSE_BACKGROUND_H_

#include <atomic>

#include "absl/status/status.h"
#include "unique_fd.h"

namespace flatcow::daemon {

class Background {
 public:
  // Forks; call it before there are threads. The parent waits for the child's
  // Succeed() or Fail() and exits; if the child dies before, with 2.
  absl::Status Fork();

  bool forked() const { return forked_; }

  // Leaves the terminal: a session of its own, standard streams on /dev/null.
  // Without Fork(), does nothing. Only the first of these calls counts.
  void Succeed();
  void Fail(int exit_code);

 private:
  void Report(int exit_code);

  bool forked_ = false;
  std::atomic<bool> reported_{false};
  UniqueFd to_parent_;
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_BACKGROUND_H_
