// SPDX-License-Identifier: Apache-2.0
//
// Which faults a run is tried with, and the count of them all.
#ifndef FLATCOW_TEST_FAULT_FAULT_PLAN_H_
#define FLATCOW_TEST_FAULT_FAULT_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "support/fault_injection_file_system.h"

namespace flatcow {

// Every fault for a run whose operations `files` has counted: each operation
// fails with each errno, once or from then on; reads and writes stop half way;
// the disk is full, or doesn't sync, or can't be read from some point on.
std::vector<Fault> AllFaults(const FaultInjectionFileSystem& files);

// One in `share` of them, others for another `salt`: with many runs every place
// gets its turn. All when the long form is asked for (FLATCOW_FAULT_LONG=1),
// fewer for a lower FLATCOW_ROUNDS_PERCENT.
std::vector<Fault> SomeFaults(const FaultInjectionFileSystem& files,
                              uint64_t share, uint64_t salt);
bool IsLongForm();

// "operation 7 of all fails: EIO, once".
std::string Describe(const Fault& fault);

// May a request answer so to this fault? `kinds` are the operations that failed
// on its account. Return values: empty, or what is wrong.
std::string JudgeErrno(const absl::Status& status, const Fault& fault,
                       const std::vector<FaultKind>& kinds);

// Faults injected and mishandled in this process.
class FaultTotals {
 public:
  static FaultTotals& Get();
  // A run with a fault: did it hit, and what went wrong (empty: nothing)? What
  // goes wrong fails the test; `replay` says where.
  void Note(bool injected, const std::string& failure,
            const std::string& replay);
  uint64_t injected() const { return injected_; }
  uint64_t mishandled() const { return mishandled_; }

 private:
  uint64_t injected_ = 0;
  uint64_t mishandled_ = 0;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_FAULT_FAULT_PLAN_H_
