// SPDX-License-Identifier: Apache-2.0
#include "order/explorer.h"

#include <bit>
#include <memory>
#include <random>
#include <stdexcept>
#include <utility>

namespace flatcow::order {
namespace {

constexpr uint32_t Bit(int thread) { return 1u << thread; }

bool Contains(uint32_t set, int thread) { return (set & Bit(thread)) != 0; }

// As few changes of the thread as possible.
int Default(uint32_t enabled, int last) {
  return last >= 0 && Contains(enabled, last) ? last
                                              : std::countr_zero(enabled);
}

// A point on the way that is being explored, before its step.
struct Node {
  uint32_t enabled = 0;
  int chosen = 0;
  uint32_t wanted = 0;  // threads that have to go from here some time
  uint32_t done = 0;    // those that went, with all that followed
};

class Explorer {
 public:
  Explorer(const RunOnce& run, uint64_t limit) : run_(run), limit_(limit) {}

  uint64_t Explore() {
    uint64_t count = 0;
    do {
      const std::vector<Step> steps = Run();
      ++count;
      if (!IsSwapOfSeen(steps)) AddRaces(steps);
    } while (count < limit_ && Advance());
    return count;
  }

 private:
  std::vector<Step> Run();
  bool IsSwapOfSeen(const std::vector<Step>& steps) const;
  void AddRaces(const std::vector<Step>& steps);
  void AddRace(const std::vector<Step>& steps, size_t later, int other);
  bool Advance();

  const RunOnce& run_;
  const uint64_t limit_;
  std::vector<Node> path_;
};

std::vector<Step> Explorer::Run() {
  size_t depth = 0;
  return run_([&](uint32_t enabled, int last) {
    if (depth == path_.size()) {
      path_.push_back({.enabled = enabled, .chosen = Default(enabled, last)});
    } else if (path_[depth].enabled != enabled) {
      throw std::logic_error("a run was not repeated exactly");
    }
    return path_[depth++].chosen;
  });
}

// Is there a point where a thread that went from here before, with all that
// followed, has its step now after others that commute with it?
bool Explorer::IsSwapOfSeen(const std::vector<Step>& steps) const {
  for (size_t depth = 0; depth < steps.size(); ++depth) {
    for (int thread = 0; thread < kMaxThreads; ++thread) {
      if (!Contains(path_[depth].done, thread)) continue;
      size_t later = depth;
      while (later < steps.size() && steps[later].thread != thread) ++later;
      bool commutes = later < steps.size();
      for (size_t i = depth; i < later && commutes; ++i) {
        commutes = !Depend(steps[i], steps[later]);
      }
      if (commutes) return true;
    }
  }
  return false;
}

// The last step of `other` that the later one depends on: before it, the later
// one's thread has to go too.
void Explorer::AddRace(const std::vector<Step>& steps, size_t later,
                       int other) {
  const int thread = steps[later].thread;
  for (size_t i = later; i-- > 0;) {
    if (steps[i].thread != other || !Depend(steps[i], steps[later])) continue;
    if (Contains(path_[i].enabled, thread)) {
      path_[i].wanted |= Bit(thread);
      return;
    }
    path_[i].wanted |= path_[i].enabled;
  }
}

void Explorer::AddRaces(const std::vector<Step>& steps) {
  for (size_t later = 0; later < steps.size(); ++later) {
    for (int other = 0; other < kMaxThreads; ++other) {
      if (other != steps[later].thread) AddRace(steps, later, other);
    }
  }
}

// To the next order that is wanted, the deepest first.
bool Explorer::Advance() {
  while (!path_.empty()) {
    Node& node = path_.back();
    node.done |= Bit(node.chosen);
    const uint32_t left = node.wanted & ~node.done;
    if (left != 0) {
      node.chosen = std::countr_zero(left);
      return true;
    }
    path_.pop_back();
  }
  return false;
}

}  // namespace

uint64_t ExploreAll(const RunOnce& run, uint64_t limit) {
  return Explorer(run, limit).Explore();
}

Chooser RandomChooser(uint64_t seed) {
  const auto random = std::make_shared<std::mt19937_64>(seed);
  return [random](uint32_t enabled, int last) {
    if (last >= 0 && Contains(enabled, last) && (*random)() % 4 != 0) {
      return last;
    }
    int nth = static_cast<int>((*random)() %
                               static_cast<unsigned>(std::popcount(enabled)));
    while (nth-- > 0) enabled &= enabled - 1;
    return std::countr_zero(enabled);
  };
}

Chooser FixedChooser(std::string schedule) {
  const auto next = std::make_shared<size_t>(0);
  return [schedule = std::move(schedule), next](uint32_t enabled, int last) {
    if (*next == schedule.size()) return Default(enabled, last);
    const int thread = schedule[(*next)++] - '0';
    if (!Contains(enabled, thread)) {
      throw std::logic_error("the schedule does not fit");
    }
    return thread;
  };
}

}  // namespace flatcow::order
