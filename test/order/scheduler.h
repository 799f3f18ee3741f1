// SPDX-License-Identifier: Apache-2.0
//
// Threads that run one at a time, in an order that the test decides.
//
// A thread of a run pauses at its yield points: before it takes a lock, when it
// waits for a condition, before and after a file operation. What it does from
// one to the next is a step. While it pauses, a chooser says whose step is the
// next. A step notes what it touches that threads share: locks, atomics
// (atomic_hooks.cc), files (scheduled_file_system.h). Other threads than those
// of a run, and a run's threads inside a file operation, never pause.
#ifndef FLATCOW_TEST_ORDER_SCHEDULER_H_
#define FLATCOW_TEST_ORDER_SCHEDULER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace flatcow::order {

inline constexpr int kMaxThreads = 3;

struct Touched {
  uint64_t object = 0;
  bool writes = false;
};

struct Step {
  int thread = 0;
  uint32_t enabled = 0;                // bit n: thread n could have gone
  std::vector<Touched> accesses = {};  // sorted, each object once
};

// Do the two steps fail to commute?
bool Depend(const Step& a, const Step& b);

// Which of the `enabled` threads goes next; `last` went before, -1 at first.
using Chooser = std::function<int(uint32_t enabled, int last)>;

// Runs the bodies, at most kMaxThreads. When nobody can go on it prints the
// schedule, with `name`, and ends the process: those threads cannot be helped.
std::vector<Step> RunThreads(const std::vector<std::function<void()>>& bodies,
                             const std::string& name, const Chooser& choose);

// "0011..." - the thread of each step.
std::string Describe(const std::vector<Step>& steps);

// What the threads of a run call.
void Pause();
void Touch(uint64_t object, bool writes);
void Lock(bool& held);
void Unlock(bool& held);
void Wait(const void* condition, bool& held);
void Notify(const void* condition);

// An access to an atomic.
void NoteAtomic(uint64_t object, bool writes);

// While one of these lives, each access to an atomic is a yield point too.
// Runs get long: for single parts of the library.
class PauseAtAtomics {
 public:
  PauseAtAtomics();
  ~PauseAtAtomics();
  PauseAtAtomics(const PauseAtAtomics&) = delete;
  PauseAtAtomics& operator=(const PauseAtAtomics&) = delete;
};

// The thread does not pause, and what it touches is not noted.
class Quiet {
 public:
  Quiet();
  ~Quiet();
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
};

}  // namespace flatcow::order

#endif  // FLATCOW_TEST_ORDER_SCHEDULER_H_
