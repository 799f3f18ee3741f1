// SPDX-License-Identifier: Apache-2.0
#include "signal_thread.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "flatcow/status.h"

namespace flatcow::daemon {
namespace {

sigset_t Signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGUSR1);
  struct sigaction action;
  if (sigaction(SIGHUP, nullptr, &action) != 0 ||
      action.sa_handler != SIG_IGN) {
    sigaddset(&signals, SIGHUP);
  }
  return signals;
}

}  // namespace

void SignalThread::Block() {
  const sigset_t signals = Signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // A client that goes away is an error of one reply.
  signal(SIGPIPE, SIG_IGN);
}

absl::Status SignalThread::Start(std::function<void()> begin,
                                 std::function<void(int)> handle) {
  const sigset_t signals = Signals();
  signals_ = UniqueFd(signalfd(-1, &signals, SFD_CLOEXEC));
  if (!signals_.ok()) return ErrnoError(errno, "signalfd");
  stop_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
  if (!stop_.ok()) return ErrnoError(errno, "eventfd");
  begin_ = std::move(begin);
  handle_ = std::move(handle);
  thread_ = std::thread([this] { Run(); });
  return absl::OkStatus();
}

void SignalThread::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written =
      write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void SignalThread::Run() {
  begin_();
  while (true) {
    pollfd events[2] = {{signals_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (poll(events, 2, -1) < 0) continue;
    if (events[1].revents != 0) return;
    signalfd_siginfo info;
    if (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      handle_(static_cast<int>(info.ssi_signo));
    }
  }
}

}  // namespace flatcow::daemon
