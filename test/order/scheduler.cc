// SPDX-License-Identifier: Apache-2.0
#include "order/scheduler.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <semaphore>
#include <thread>

namespace flatcow::order {
namespace {

struct Worker {
  std::binary_semaphore turn{0};
  const std::function<void()>* body = nullptr;  // null: done
  const bool* wanted_lock = nullptr;            // its next step takes it
  const void* condition = nullptr;              // it waits to be notified

  bool Enabled() const {
    return body != nullptr && condition == nullptr &&
           (wanted_lock == nullptr || !*wanted_lock);
  }
};

uint64_t ObjectOf(const void* address) {
  return reinterpret_cast<uint64_t>(address);
}

// The threads live as long as the process, and so do their thread-local
// buffers. All fields belong to whoever's turn it is.
class Scheduler {
 public:
  static Scheduler& Get() {
    static Scheduler* const scheduler = new Scheduler;
    return *scheduler;
  }

  std::vector<Step> Run(const std::vector<std::function<void()>>& bodies,
                        const std::string& name, const Chooser& choose) {
    name_ = &name;
    choose_ = &choose;
    steps_.clear();
    for (size_t i = 0; i < bodies.size(); ++i) workers_[i].body = &bodies[i];
    workers_[static_cast<size_t>(Next(-1))].turn.release();
    ended_.acquire();
    FinishStep();
    return std::move(steps_);
  }

  void Pause(int self) {
    const int next = Next(self);
    if (next == self) return;
    workers_[static_cast<size_t>(next)].turn.release();
    worker(self).turn.acquire();
  }

  Worker& worker(int index) { return workers_[static_cast<size_t>(index)]; }
  std::vector<Touched>& accesses() { return steps_.back().accesses; }

  void Wake(const void* condition) {
    for (Worker& waiting : workers_) {
      if (waiting.condition == condition) waiting.condition = nullptr;
    }
  }

 private:
  Scheduler() {
    for (int i = 0; i < kMaxThreads; ++i) {
      std::thread([this, i] { Work(i); }).detach();
    }
  }

  void Work(int self);
  int Next(int last);
  void FinishStep();

  std::array<Worker, kMaxThreads> workers_;
  std::binary_semaphore ended_{0};
  const std::string* name_ = nullptr;
  const Chooser* choose_ = nullptr;
  std::vector<Step> steps_;
};

thread_local int self = -1;
thread_local int quiet = 1;

bool pause_at_atomics = false;

bool Scheduled() { return quiet == 0; }

void Scheduler::Work(int index) {
  self = index;
  Worker& me = worker(index);
  while (true) {
    me.turn.acquire();
    quiet = 0;
    (*me.body)();
    quiet = 1;
    me.body = nullptr;
    const bool all_done =
        std::all_of(workers_.begin(), workers_.end(),
                    [](const Worker& w) { return w.body == nullptr; });
    if (all_done) {
      ended_.release();
    } else {
      worker(Next(index)).turn.release();
    }
  }
}

void Scheduler::FinishStep() {
  std::vector<Touched>& list = accesses();
  std::sort(list.begin(), list.end(), [](const Touched& a, const Touched& b) {
    return a.object != b.object ? a.object < b.object : a.writes > b.writes;
  });
  const auto same = [](const Touched& a, const Touched& b) {
    return a.object == b.object;
  };
  list.erase(std::unique(list.begin(), list.end(), same), list.end());
}

int Scheduler::Next(int last) {
  if (!steps_.empty()) FinishStep();
  uint32_t enabled = 0;
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].Enabled()) enabled |= 1u << i;
  }
  if (enabled == 0) {
    std::fprintf(stderr, "deadlock: replay with FLATCOW_ORDER=%s:%s\n",
                 name_->c_str(), Describe(steps_).c_str());
    std::abort();
  }
  const int next = (*choose_)(enabled, last);
  steps_.push_back({.thread = next, .enabled = enabled});
  return next;
}

}  // namespace

bool Depend(const Step& a, const Step& b) {
  auto left = a.accesses.begin();
  auto right = b.accesses.begin();
  while (left != a.accesses.end() && right != b.accesses.end()) {
    if (left->object < right->object) {
      ++left;
    } else if (right->object < left->object) {
      ++right;
    } else {
      if (left->writes || right->writes) return true;
      ++left;
      ++right;
    }
  }
  return false;
}

std::vector<Step> RunThreads(const std::vector<std::function<void()>>& bodies,
                             const std::string& name, const Chooser& choose) {
  return Scheduler::Get().Run(bodies, name, choose);
}

std::string Describe(const std::vector<Step>& steps) {
  std::string text;
  for (const Step& step : steps) {
    text.push_back(static_cast<char>('0' + step.thread));
  }
  return text;
}

Quiet::Quiet() { ++quiet; }
Quiet::~Quiet() { --quiet; }

PauseAtAtomics::PauseAtAtomics() { pause_at_atomics = true; }
PauseAtAtomics::~PauseAtAtomics() { pause_at_atomics = false; }

void NoteAtomic(uint64_t object, bool writes) {
  if (pause_at_atomics) Pause();
  Touch(object, writes);
}

void Pause() {
  if (!Scheduled()) return;
  const Quiet inside;
  Scheduler::Get().Pause(self);
}

void Touch(uint64_t object, bool writes) {
  if (!Scheduled()) return;
  const Quiet inside;
  Scheduler::Get().accesses().push_back({object, writes});
}

void Lock(bool& held) {
  if (Scheduled()) {
    Worker& me = Scheduler::Get().worker(self);
    me.wanted_lock = &held;
    Pause();
    me.wanted_lock = nullptr;
    Touch(ObjectOf(&held), true);
  }
  if (held) {
    std::fputs("a lock is taken twice\n", stderr);
    std::abort();
  }
  held = true;
}

void Unlock(bool& held) {
  Touch(ObjectOf(&held), true);
  held = false;
}

void Wait(const void* condition, bool& held) {
  if (!Scheduled()) {
    std::fputs("a wait that nobody can end\n", stderr);
    std::abort();
  }
  Touch(ObjectOf(condition), true);
  Scheduler::Get().worker(self).condition = condition;
  Unlock(held);
  Lock(held);
}

void Notify(const void* condition) {
  if (!Scheduled()) return;
  Touch(ObjectOf(condition), true);
  Scheduler::Get().Wake(condition);
}

}  // namespace flatcow::order
