// SPDX-License-Identifier: Apache-2.0
//
// The calls that -fsanitize=thread compiles in, without its runtime: atomics
// are noted as touched by the step under way. Plain memory is not: that its
// accesses are ordered by locks and atomics is what TSan itself checks.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "order/scheduler.h"

namespace {

void Note(const volatile void* address, bool writes) {
  flatcow::order::NoteAtomic(reinterpret_cast<uint64_t>(address) & ~uint64_t{7},
                             writes);
}

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" {

#define FLATCOW_UPDATE(BITS, NAME)                                         \
  uint##BITS##_t __tsan_atomic##BITS##_##NAME(volatile uint##BITS##_t* at, \
                                              uint##BITS##_t value, int) { \
    Note(at, true);                                                        \
    return __atomic_##NAME(at, value, __ATOMIC_SEQ_CST);                   \
  }
#define FLATCOW_COMPARE(BITS, STRENGTH, WEAK)                               \
  int __tsan_atomic##BITS##_compare_exchange_##STRENGTH(                    \
      volatile uint##BITS##_t* at, uint##BITS##_t* expected,                \
      uint##BITS##_t value, int, int) {                                     \
    Note(at, true);                                                         \
    return __atomic_compare_exchange_n(at, expected, value, WEAK,           \
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }
#define FLATCOW_ATOMICS(BITS)                                                  \
  uint##BITS##_t __tsan_atomic##BITS##_load(const volatile uint##BITS##_t* at, \
                                            int) {                             \
    Note(at, false);                                                           \
    return __atomic_load_n(at, __ATOMIC_SEQ_CST);                              \
  }                                                                            \
  void __tsan_atomic##BITS##_store(volatile uint##BITS##_t* at,                \
                                   uint##BITS##_t value, int) {                \
    Note(at, true);                                                            \
    __atomic_store_n(at, value, __ATOMIC_SEQ_CST);                             \
  }                                                                            \
  uint##BITS##_t __tsan_atomic##BITS##_exchange(volatile uint##BITS##_t* at,   \
                                                uint##BITS##_t value, int) {   \
    Note(at, true);                                                            \
    return __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST);                   \
  }                                                                            \
  FLATCOW_UPDATE(BITS, fetch_add)                                              \
  FLATCOW_UPDATE(BITS, fetch_sub)                                              \
  FLATCOW_UPDATE(BITS, fetch_and)                                              \
  FLATCOW_UPDATE(BITS, fetch_or)                                               \
  FLATCOW_UPDATE(BITS, fetch_xor)                                              \
  FLATCOW_COMPARE(BITS, strong, false)                                         \
  FLATCOW_COMPARE(BITS, weak, true)

FLATCOW_ATOMICS(8)
FLATCOW_ATOMICS(16)
FLATCOW_ATOMICS(32)
FLATCOW_ATOMICS(64)

#define FLATCOW_PLAIN(BYTES)                   \
  void __tsan_read##BYTES(void*) {}            \
  void __tsan_write##BYTES(void*) {}           \
  void __tsan_read_write##BYTES(void*) {}      \
  void __tsan_unaligned_read##BYTES(void*) {}  \
  void __tsan_unaligned_write##BYTES(void*) {} \
  void __tsan_unaligned_read_write##BYTES(void*) {}

FLATCOW_PLAIN(1)
FLATCOW_PLAIN(2)
FLATCOW_PLAIN(4)
FLATCOW_PLAIN(8)
FLATCOW_PLAIN(16)

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_read_range(void*, size_t) {}
void __tsan_write_range(void*, size_t) {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}
void* __tsan_memcpy(void* to, const void* from, size_t length) {
  return std::memcpy(to, from, length);
}
void* __tsan_memmove(void* to, const void* from, size_t length) {
  return std::memmove(to, from, length);
}
void* __tsan_memset(void* at, int value, size_t length) {
  return std::memset(at, value, length);
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier)
