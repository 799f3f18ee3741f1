// SPDX-License-Identifier: Apache-2.0
//
// The same random operations on a disk and on a byte array.
#ifndef FLATCOW_TEST_MODEL_DISK_MODEL_H_
#define FLATCOW_TEST_MODEL_DISK_MODEL_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "flatcow/extent.h"

namespace flatcow {

// What is put to the test: a library image, a file in a mount, ...
class TestedDisk {
 public:
  virtual ~TestedDisk() = default;
  virtual absl::Status Read(uint64_t offset, absl::Span<uint8_t> buffer) = 0;
  virtual absl::Status Write(uint64_t offset,
                             absl::Span<const uint8_t> data) = 0;
  virtual absl::Status Zero(Extent extent) = 0;
  virtual absl::Status Allocate(Extent extent) = 0;
  virtual absl::Status Grow(uint64_t new_size) = 0;
  virtual absl::Status Flush() = 0;
  // Closes the disk and opens it again.
  virtual absl::Status Reopen() = 0;
  virtual uint64_t Size() = 0;
};

struct ModelOptions {
  uint64_t cluster_size = 4096;
  uint64_t size_unit = 1;  // sizes are multiples of it
  uint64_t max_size = 0;   // how far the disk may grow
  uint64_t alignment = 1;  // of reads and writes (O_DIRECT)
  int operations = 200;
};

// Runs `options.operations` operations drawn from `seed`, comparing what each
// read returns, and the whole disk in between and at the end. `content` is what
// the disk shows at first. Return values: an empty string, or what went wrong,
// the seed and the number of the operation with it.
std::string RunModel(TestedDisk& disk, std::vector<uint8_t> content,
                     uint64_t seed, const ModelOptions& options);

// The seed for the nth run of a test: FLATCOW_SEED if that is set (a failure
// printed it), else one that depends on n and FLATCOW_SEED_BASE only.
uint64_t SeedFor(uint64_t n);

// How much of the random work is done: FLATCOW_ROUNDS_PERCENT, 100 unless set.
uint64_t RoundsPercent();

// That much of `rounds`, at least one.
uint64_t RoundsFor(uint64_t rounds);

// Bytes that say where they are from: 8-byte words of tag and offset.
std::vector<uint8_t> Pattern(uint64_t tag, uint64_t length);

}  // namespace flatcow

#endif  // FLATCOW_TEST_MODEL_DISK_MODEL_H_
