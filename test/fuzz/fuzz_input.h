// SPDX-License-Identifier: Apache-2.0
//
// Takes numbers and bytes off a fuzzer's input. What is not there is zero, so
// every input says something.
#ifndef FLATCOW_TEST_FUZZ_FUZZ_INPUT_H_
#define FLATCOW_TEST_FUZZ_FUZZ_INPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace flatcow {

class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : data_(data), left_(size) {}

  bool empty() const { return left_ == 0; }

  uint8_t Byte() { return static_cast<uint8_t>(Number(1)); }
  uint16_t Half() { return static_cast<uint16_t>(Number(2)); }
  uint64_t Word() { return Number(8); }

  // A number of any magnitude, not only huge ones.
  uint64_t AnyNumber() {
    const int shift = Byte() % 64;
    return Word() >> shift;
  }

  // Return values: less than `bound`; 0 when that is 0.
  uint64_t Below(uint64_t bound) {
    const uint64_t number = bound <= 256 ? Byte() : Word();
    return bound == 0 ? 0 : number % bound;
  }

  // At most `length` bytes.
  std::string Bytes(size_t length) {
    length = std::min(length, left_);
    const std::string bytes(data_, data_ + length);
    Skip(length);
    return bytes;
  }

 private:
  uint64_t Number(size_t bytes) {
    const size_t there = std::min(bytes, left_);
    uint64_t number = 0;
    for (size_t i = 0; i < there; ++i) number |= uint64_t{data_[i]} << (8 * i);
    Skip(there);
    return number;
  }

  void Skip(size_t length) {
    data_ += length;
    left_ -= length;
  }

  const uint8_t* data_;
  size_t left_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_FUZZ_FUZZ_INPUT_H_
