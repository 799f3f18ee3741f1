// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_BASE_CHECKED_MATH_H_
#define FLATCOW_BASE_CHECKED_MATH_H_

#include <cstdint>
#include <optional>

namespace flatcow {

// `unit` must be a power of two.
constexpr uint64_t RoundDown(uint64_t value, uint64_t unit) {
  return value & ~(unit - 1);
}

// Wraps past 2^64; callers bound `value` first.
constexpr uint64_t RoundUp(uint64_t value, uint64_t unit) {
  return RoundDown(value + unit - 1, unit);
}

constexpr bool IsAligned(uint64_t value, uint64_t unit) {
  return (value & (unit - 1)) == 0;
}

// Works for every value and non-zero divisor.
constexpr uint64_t DivideRoundingUp(uint64_t value, uint64_t divisor) {
  return value / divisor + (value % divisor != 0 ? 1 : 0);
}

constexpr std::optional<uint64_t> CheckedAdd(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

constexpr std::optional<uint64_t> CheckedMultiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// Do [a, a + a_length) and [b, b + b_length) share a byte? No end may wrap.
constexpr bool Overlaps(uint64_t a, uint64_t a_length, uint64_t b,
                        uint64_t b_length) {
  return a_length != 0 && b_length != 0 && a < b + b_length && b < a + a_length;
}

}  // namespace flatcow

#endif  // FLATCOW_BASE_CHECKED_MATH_H_
