// SPDX-License-Identifier: Apache-2.0
//
// Requests to a disk, made up beforehand, so that the same ones can be run
// again and again: with a crash here, a fault there.
#ifndef FLATCOW_TEST_MODEL_WORKLOAD_H_
#define FLATCOW_TEST_MODEL_WORKLOAD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "flatcow/extent.h"
#include "model/chain_shape.h"
#include "model/disk_model.h"

namespace flatcow {

struct DiskRequest {
  enum class Kind { kWrite, kZero, kAllocate, kGrow, kFlush, kReopen };

  Kind kind = Kind::kFlush;
  Extent extent = {};  // of a write, zero or allocate
  uint64_t size = 0;   // of a grow: the new one
  uint64_t tag = 0;    // of a write: its bytes are Pattern(tag, length)
};

using Workload = std::vector<DiskRequest>;

// "write 700 at 5096, flush", for messages of tests.
std::string Describe(const Workload& workload);

absl::Status Apply(const DiskRequest& request, TestedDisk& disk);
// What the request does to a disk that holds `content`.
void Apply(const DiskRequest& request, std::vector<uint8_t>& content);

// Every sequence of one to `max_length` steps out of: write part of a cluster,
// write a whole one, write across clusters, zero parts of two clusters, punch a
// whole one, grow, flush, reopen. The steps get into each other's way.
// Precondition: the shape's disk has at least four clusters.
std::vector<Workload> ShortWorkloads(const ChainShape& shape, int max_length);

// `length` requests drawn from `seed`, of all kinds and anywhere.
Workload RandomWorkload(const ChainShape& shape, uint64_t seed, int length);

}  // namespace flatcow

#endif  // FLATCOW_TEST_MODEL_WORKLOAD_H_
