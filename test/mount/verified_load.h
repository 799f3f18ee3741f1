// SPDX-License-Identifier: Apache-2.0
//
// Threads that write to a view in all the ways a guest does, and keep book of
// what they were promised.
#ifndef FLATCOW_TEST_MOUNT_VERIFIED_LOAD_H_
#define FLATCOW_TEST_MOUNT_VERIFIED_LOAD_H_

#include <cstdint>
#include <functional>
#include <string>

#include "mount/versioned_disk.h"

namespace flatcow {

enum class Verdict { kGoOn, kStop, kFail };

struct LoadOptions {
  std::string view;
  uint64_t seed = 0;
  int writers = 6;
  // Called by the writers before each operation, the nth of all; false ends
  // the writer.
  std::function<bool(uint64_t n)> before_each;
  // What a failed operation means to its writer.
  std::function<Verdict(int error)> on_error;
};

// Return values: when all writers have ended, an empty string, or the operation
// that failed.
std::string RunLoad(VersionedDisk& disk, const LoadOptions& options);

// The whole view against the disk. Return values: an empty string, or what is
// wrong; adds the sectors that are to `bad_sectors`.
std::string VerifyView(const std::string& view, VersionedDisk& disk,
                       uint64_t& bad_sectors);

}  // namespace flatcow

#endif  // FLATCOW_TEST_MOUNT_VERIFIED_LOAD_H_
