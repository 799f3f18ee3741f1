// SPDX-License-Identifier: Apache-2.0
//
// The states of the files that a power cut may leave.
//
//   EachCrashState(before, operations, wants, [&](const CrashState& state) {
//     ...  // open what state.files holds
//   });
//
// What the disk does is modelled by sectors of 512 bytes: an operation that was
// not synced has reached the disk, or not, or in part, whatever others did; a
// sector that it wrote holds then what the page cache held after it. A sync
// makes every operation on its file durable that ended before. Sizes may be
// lost apart from data. As on every journaling file system, what follows a
// create, a remove or a shrinking truncate of a file is not seen without that.
#ifndef FLATCOW_TEST_CRASH_POWER_CUT_H_
#define FLATCOW_TEST_CRASH_POWER_CUT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "support/memory_file_system.h"
#include "support/recording_file_system.h"

namespace flatcow {

struct CrashState {
  // How many operations had begun; the last of them may have been under way.
  size_t operations = 0;
  // Counts the states of one recording, so that one can be found again.
  uint64_t number = 0;
  // "all but write /a 4096+512", for messages.
  absl::FunctionRef<std::string()> describe;
  MemoryFileSystem& files;  // the visitor's to change
};

// Visits the states after every number of operations for which `wants` is
// true. `before` is all durable.
void EachCrashState(const MemoryFileSystem& before,
                    const std::vector<FileOperation>& operations,
                    absl::FunctionRef<bool(size_t operations)> wants,
                    absl::FunctionRef<void(const CrashState&)> visit);

}  // namespace flatcow

#endif  // FLATCOW_TEST_CRASH_POWER_CUT_H_
