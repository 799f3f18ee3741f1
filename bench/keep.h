// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_BENCH_KEEP_H_
#define FLATCOW_BENCH_KEEP_H_

namespace flatcow::bench {

// The compiler must suppose that the value is read and changed here, so it can
// neither leave out what made it nor know what it is.
template <typename T>
void Keep(T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

}  // namespace flatcow::bench

#endif  // FLATCOW_BENCH_KEEP_H_
