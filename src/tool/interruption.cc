// SPDX-License-Identifier: Apache-2.0
#include "interruption.h"

#include <atomic>

namespace flatcow::tool {
namespace {

std::atomic<int> caught = 0;
static_assert(std::atomic<int>::is_always_lock_free);

void Catch(int signal) { caught.store(signal, std::memory_order_relaxed); }

void Install(int signal, struct sigaction& previous) {
  sigaction(signal, nullptr, &previous);
  if (previous.sa_handler == SIG_IGN) return;
  struct sigaction action = {};
  action.sa_handler = Catch;
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

}  // namespace

Interruption::Interruption() {
  caught.store(0, std::memory_order_relaxed);
  Install(SIGINT, previous_interrupt_);
  Install(SIGTERM, previous_terminate_);
}

Interruption::~Interruption() {
  sigaction(SIGINT, &previous_interrupt_, nullptr);
  sigaction(SIGTERM, &previous_terminate_, nullptr);
}

int Interruption::signal() const {
  return caught.load(std::memory_order_relaxed);
}

}  // namespace flatcow::tool
