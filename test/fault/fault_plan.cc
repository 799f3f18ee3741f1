// SPDX-License-Identifier: Apache-2.0
#include "fault/fault_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "flatcow/status.h"
#include "model/disk_model.h"

namespace flatcow {
namespace {

constexpr int kAllErrors[] = {EIO, ENOSPC, EDQUOT, EINTR, ENOMEM};
constexpr int kFullErrors[] = {ENOSPC, EDQUOT};
constexpr int kDeadErrors[] = {EIO};
constexpr uint32_t kSpace =
    kWriteFault | kTruncateFault | kAllocateFault | kZeroFault;
// Those beyond are counted, and fail the program, not the test.
constexpr uint64_t kPrinted = 20;

struct Group {
  const char* name;
  uint32_t kinds;
  absl::Span<const int> errors;
  bool partial;
  bool forever;
  size_t read_at_most = ~size_t{0};
};
constexpr Group kGroups[] = {
    {"operation", kEveryFault, kAllErrors, false, false},
    {"operation", kEveryFault, kAllErrors, false, true},
    {"half of read", kReadFault, kDeadErrors, true, false},
    {"half of read", kReadFault, kDeadErrors, true, true},
    {"all but a byte of read", kReadFault, kDeadErrors, true, false, 1},
    {"all but a byte of read", kReadFault, kDeadErrors, true, true, 1},
    {"half of write", kWriteFault, kFullErrors, true, false},
    {"half of write", kWriteFault, kDeadErrors, true, true},
    {"end of replace", kReplaceFault, kDeadErrors, true, false},
    {"operation that needs space", kSpace, kFullErrors, false, true},
    {"sync", kSyncFault, kDeadErrors, false, true},
    {"read", kReadFault, kDeadErrors, false, true},
};

const char* NameOf(const Fault& fault) {
  for (const Group& group : kGroups) {
    if (group.kinds == fault.kinds && group.partial == fault.partial &&
        group.read_at_most == fault.read_at_most) {
      return group.name;
    }
  }
  return "?";
}

}  // namespace

std::vector<Fault> AllFaults(const FaultInjectionFileSystem& files) {
  std::vector<Fault> faults;
  for (const Group& group : kGroups) {
    for (uint64_t nth = 1; nth <= files.Count(group.kinds); ++nth) {
      for (const int error : group.errors) {
        faults.push_back({.kinds = group.kinds,
                          .nth = nth,
                          .error = error,
                          .forever = group.forever,
                          .partial = group.partial,
                          .read_at_most = group.read_at_most});
      }
    }
  }
  return faults;
}

bool IsLongForm() { return std::getenv("FLATCOW_FAULT_LONG") != nullptr; }

std::vector<Fault> SomeFaults(const FaultInjectionFileSystem& files,
                              uint64_t share, uint64_t salt) {
  std::vector<Fault> faults = AllFaults(files);
  if (IsLongForm()) return faults;
  const uint64_t step = std::max<uint64_t>(share * 100 / RoundsPercent(), 1);
  uint64_t index = salt;
  faults.erase(
      std::remove_if(faults.begin(), faults.end(),
                     [&](const Fault&) { return index++ % step != 0; }),
      faults.end());
  return faults;
}

std::string Describe(const Fault& fault) {
  return absl::StrCat(NameOf(fault), " ", fault.nth, " fails with ",
                      strerrorname_np(fault.error), ", ",
                      fault.forever ? "as all from then on" : "once");
}

std::string JudgeErrno(const absl::Status& status, const Fault& fault,
                       const std::vector<FaultKind>& kinds) {
  if (kinds.empty())
    return absl::StrCat("fails without a fault: ", status.ToString());
  const auto hit = [&](FaultKind kind) {
    return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  };
  const int error = ErrnoOf(status);
  // A short read is a cut file; after a failed sync EIO says what is lost.
  if (fault.partial && hit(kReadFault) && error == EIO) return "";
  if (hit(kSyncFault) && error == EIO) return "";
  if (error == fault.error) return "";
  return absl::StrCat("errno is ", error, " instead of ", fault.error, ": ",
                      status.ToString());
}

FaultTotals& FaultTotals::Get() {
  static FaultTotals totals;
  return totals;
}

void FaultTotals::Note(bool injected, const std::string& failure,
                       const std::string& replay) {
  if (injected) ++injected_;
  if (failure.empty()) return;
  if (++mishandled_ <= kPrinted) ADD_FAILURE() << replay << ": " << failure;
}

}  // namespace flatcow
