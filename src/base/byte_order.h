// SPDX-License-Identifier: Apache-2.0
//
// Integers of both byte orders in byte buffers of any alignment.
#ifndef FLATCOW_BASE_BYTE_ORDER_H_
#define FLATCOW_BASE_BYTE_ORDER_H_

#include <endian.h>

#include <cstdint>
#include <cstring>

namespace flatcow {

inline uint32_t LoadLittle32(const uint8_t* bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return le32toh(value);
}

inline uint64_t LoadLittle64(const uint8_t* bytes) {
  uint64_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return le64toh(value);
}

inline uint32_t LoadBig32(const uint8_t* bytes) {
  uint32_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return be32toh(value);
}

inline uint64_t LoadBig64(const uint8_t* bytes) {
  uint64_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return be64toh(value);
}

inline void StoreLittle32(uint8_t* bytes, uint32_t value) {
  value = htole32(value);
  std::memcpy(bytes, &value, sizeof(value));
}

inline void StoreLittle64(uint8_t* bytes, uint64_t value) {
  value = htole64(value);
  std::memcpy(bytes, &value, sizeof(value));
}

inline void StoreBig32(uint8_t* bytes, uint32_t value) {
  value = htobe32(value);
  std::memcpy(bytes, &value, sizeof(value));
}

inline void StoreBig64(uint8_t* bytes, uint64_t value) {
  value = htobe64(value);
  std::memcpy(bytes, &value, sizeof(value));
}

// A big-endian word that was read as a little-endian one, and back.
constexpr uint64_t SwapBytes(uint64_t word) { return __builtin_bswap64(word); }

}  // namespace flatcow

#endif  // FLATCOW_BASE_BYTE_ORDER_H_
