// SPDX-License-Identifier: Apache-2.0
//
// Sizes as qemu-img reads and prints them. Units are powers of 1024.
#ifndef FLATCOW_TOOL_SIZE_H_
#define FLATCOW_TOOL_SIZE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flatcow::tool {

// Reads "65536", "64k", "1.5G", "512b", "0x10000": decimal digits, then a
// fraction if a unit follows, then one of b k M G T P E in either case; or a
// hexadecimal number of bytes. Fractions of a byte are dropped.
// Errors: INVALID_ARGUMENT not such a number; OUT_OF_RANGE above 2^63 - 1.
// The messages say what was expected, not what the size is for.
absl::StatusOr<uint64_t> ParseSize(absl::string_view text);

// "64 MiB", "1.5 KiB", "0 B": three digits and the unit that keeps the integer
// part below 1000.
std::string HumanSize(uint64_t bytes);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_SIZE_H_
