// SPDX-License-Identifier: Apache-2.0
//
// Ranges of a virtual disk, and where their bytes are.
#ifndef FLATCOW_EXTENT_H_
#define FLATCOW_EXTENT_H_

#include <cstdint>

#include "absl/container/inlined_vector.h"

namespace flatcow {

class File;

// A range of bytes; of a virtual disk unless said otherwise.
struct Extent {
  uint64_t offset = 0;
  uint64_t length = 0;

  uint64_t end() const { return offset + length; }
  friend bool operator==(const Extent&, const Extent&) = default;
};

// Where one run of guest bytes comes from.
struct Segment {
  enum class Kind : uint8_t {
    kData,  // `file` holds the bytes at `host_offset`
    kZero,  // the bytes are zero
  };

  Kind kind = Kind::kZero;
  // False when no layer of the chain holds anything for the run: it reads as
  // zeroes because there is nothing below.
  bool allocated = false;
  // Which layer answered: 0 is the image itself, 1 its backing file, ...
  // 0 when `allocated` is false.
  uint16_t depth = 0;
  uint64_t length = 0;  // bytes
  // Null when the run has no place in a file. A zero run may have one: a hole
  // of a raw file. Valid while the image that resolved it is open.
  const File* file = nullptr;
  uint64_t host_offset = 0;  // bytes; 0 without a file

  friend bool operator==(const Segment&, const Segment&) = default;
};

// Consecutive segments; the guest offset of each is the sum before it. As many
// as a request of 1 MiB has where clusters of 64 KiB come from here and there
// cost no allocation.
using SegmentList = absl::InlinedVector<Segment, 32>;

}  // namespace flatcow

#endif  // FLATCOW_EXTENT_H_
