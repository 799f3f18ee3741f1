// SPDX-License-Identifier: Apache-2.0
//
// Little-endian integers in byte buffers of any alignment.
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

inline void StoreLittle32(uint8_t* bytes, uint32_t value) {
  value = htole32(value);
  std::memcpy(bytes, &value, sizeof(value));
}

inline void StoreLittle64(uint8_t* bytes, uint64_t value) {
  value = htole64(value);
  std::memcpy(bytes, &value, sizeof(value));
}

}  // namespace flatcow

#endif  // FLATCOW_BASE_BYTE_ORDER_H_
