// SPDX-License-Identifier: Apache-2.0
#include "base/helper_threads.h"

#include <thread>

namespace flatcow {

HelperThreads& HelperThreads::Get() {
  static HelperThreads& threads = *new HelperThreads;
  return threads;
}

void HelperThreads::Start() {
  started_ = true;
  const unsigned processors = std::thread::hardware_concurrency();
  for (unsigned i = 1; i < processors; ++i) {
    std::thread([this] { HelpForever(); }).detach();
  }
}

void HelperThreads::DoOne(Job& job) {
  const size_t index = job.next++;
  if (job.next == job.count) jobs_.remove(&job);
  ++job.running;
  mutex_.unlock();
  job.work(index);
  mutex_.lock();
  --job.running;
  if (job.running == 0 && job.next == job.count) share_done_.NotifyAll();
}

void HelperThreads::HelpForever() {
  MutexLock lock(mutex_);
  while (true) {
    while (jobs_.empty()) work_arrived_.Wait(mutex_);
    DoOne(*jobs_.front());
  }
}

void HelperThreads::Run(size_t count,
                        absl::FunctionRef<void(size_t index)> work) {
  if (count == 0) return;
  Job job{.work = work, .count = count};
  MutexLock lock(mutex_);
  if (!started_) Start();
  jobs_.push_back(&job);
  if (count > 1) work_arrived_.NotifyAll();
  while (job.next != job.count) DoOne(job);
  while (job.running != 0) share_done_.Wait(mutex_);
}

}  // namespace flatcow
