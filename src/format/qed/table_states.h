// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QED_TABLE_STATES_H_
#define FLATCOW_FORMAT_QED_TABLE_STATES_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace flatcow::qed {

// What is known of the L2 tables of an image, by L1 index. Thread-safe.
class TableStates {
 public:
  enum class State : uint8_t {
    kUnknown,  // nobody has looked through it
    kSound,
    kDamaged,
  };

  // Takes over what `old` (null: nothing) knows; `count` is not less.
  TableStates(size_t count, const TableStates* old)
      : count_(count), states_(new std::atomic<State>[count]) {
    for (size_t i = 0; i < count; ++i) {
      const bool is_old = old != nullptr && i < old->count_;
      states_[i] = is_old ? old->Get(i) : State::kUnknown;
    }
  }

  State Get(size_t index) const {
    return states_[index].load(std::memory_order_acquire);
  }
  void Set(size_t index, State state) {
    states_[index].store(state, std::memory_order_release);
  }

 private:
  const size_t count_;
  const std::unique_ptr<std::atomic<State>[]> states_;
};

}  // namespace flatcow::qed

#endif  // FLATCOW_FORMAT_QED_TABLE_STATES_H_
