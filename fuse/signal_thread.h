// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FUSE_SIGNAL_THREAD_H_
#define FLATCOW_FUSE_SIGNAL_THREAD_H_

#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "unique_fd.h"

namespace flatcow::daemon {

// Receives the signals of the daemon on a thread of its own, where anything
// may be called: SIGTERM, SIGINT, SIGHUP (unless it was ignored, as under
// nohup) and SIGUSR1.
class SignalThread {
 public:
  // Blocks the signals in the calling thread and those it will start; call it
  // before any other thread runs.
  static void Block();

  SignalThread() = default;
  ~SignalThread() { Stop(); }

  // Starts the thread. It calls `begin` once, then `handle` for each signal,
  // one at a time.
  absl::Status Start(std::function<void()> begin,
                     std::function<void(int signal)> handle);

  // Returns when the thread has ended.
  void Stop();

 private:
  void Run();

  std::function<void()> begin_;
  std::function<void(int)> handle_;
  UniqueFd signals_;
  UniqueFd stop_;
  std::thread thread_;
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_SIGNAL_THREAD_H_
