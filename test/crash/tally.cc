// SPDX-License-Identifier: Apache-2.0
#include "crash/tally.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "absl/hash/hash.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace flatcow {
namespace {

// More would say the same.
constexpr uint64_t kPrintedViolations = 3;

struct Totals {
  uint64_t states = 0;
  uint64_t violations = 0;
};

Totals& AllTotals() {
  static Totals totals;
  return totals;
}

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string ReplayedState() { return Variable("FLATCOW_CRASH_REPLAY"); }

class PrintTotals final : public testing::Environment {
 public:
  void TearDown() override {
    std::printf("crash states: %llu explored, %llu violations\n",
                static_cast<unsigned long long>(AllTotals().states),
                static_cast<unsigned long long>(AllTotals().violations));
  }
};

testing::Environment* const kPrintTotals =
    testing::AddGlobalTestEnvironment(new PrintTotals);

}  // namespace

bool IsLongRun() { return !Variable("FLATCOW_CRASH_LONG").empty(); }

bool Tally::IsReplay() { return !ReplayedState().empty(); }

Tally::~Tally() {
  AllTotals().states += states_.size();
  AllTotals().violations += violations_;
}

std::string Tally::IdOf(absl::string_view recording,
                        const CrashState& state) const {
  return absl::StrCat(subject_, ":", recording, ":", state.operations, ":",
                      state.number);
}

bool Tally::WantsRecording(absl::string_view recording) const {
  return !IsReplay() ||
         absl::StartsWith(ReplayedState(),
                          absl::StrCat(subject_, ":", recording, ":"));
}

bool Tally::WantsOperations(uint64_t history, size_t operations) {
  return IsReplay() ||
         histories_.insert(absl::HashOf(history, operations)).second;
}

bool Tally::WantsState(absl::string_view recording, const CrashState& state,
                       uint64_t promise) {
  if (IsReplay() && IdOf(recording, state) != ReplayedState()) return false;
  const uint64_t fingerprint = state.files.Fingerprint();
  states_.insert(fingerprint);
  return promises_.insert(absl::HashOf(fingerprint, promise)).second;
}

void Tally::Violation(absl::string_view recording,
                      absl::string_view recording_text, const CrashState& state,
                      absl::string_view what) {
  if (++violations_ > kPrintedViolations) return;
  ADD_FAILURE() << subject_ << ": " << recording_text << "\n  power cut after "
                << state.operations << " operations, with " << state.describe()
                << "\n  " << what
                << "\n  replay: FLATCOW_CRASH_REPLAY=" << IdOf(recording, state)
                << " ./dev crash";
}

}  // namespace flatcow
