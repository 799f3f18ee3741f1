// SPDX-License-Identifier: Apache-2.0
#include "commit_timer.h"

namespace flatcow::daemon {

CommitTimer::CommitTimer(OpenViews& views, std::chrono::seconds interval)
    : views_(views), interval_(interval), thread_([this] { Run(); }) {}

CommitTimer::~CommitTimer() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void CommitTimer::Run() {
  while (true) {
    {
      MutexLock lock(mutex_);
      const auto due = std::chrono::steady_clock::now() + interval_;
      for (auto now = due - interval_; !stop_ && now < due;
           now = std::chrono::steady_clock::now()) {
        changed_.WaitFor(mutex_, due - now);
      }
      if (stop_) return;
    }
    views_.FlushAll();
  }
}

}  // namespace flatcow::daemon
