// SPDX-License-Identifier: Apache-2.0
//
// Which states to look at, and what came of it. When the program ends it prints
// the line "crash states: N explored, M violations".
#ifndef FLATCOW_TEST_CRASH_TALLY_H_
#define FLATCOW_TEST_CRASH_TALLY_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "crash/power_cut.h"

namespace flatcow {

// True for ./dev crash: all workloads, not a selection.
bool IsLongRun();

// The states of one subject: a shape of chain, or a verb. Its name has no
// colon. FLATCOW_CRASH_REPLAY names one state, which is then the only one.
class Tally {
 public:
  explicit Tally(std::string subject) : subject_(std::move(subject)) {}
  ~Tally();
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;

  // Is there anything to look at in this recording of the subject?
  bool WantsRecording(absl::string_view recording) const;
  // And after so many of its operations? `history` tells apart what led there:
  // what began like another recording has been looked at.
  bool WantsOperations(uint64_t history, size_t operations);
  // And at this state, when `promise` tells apart what is promised? Under
  // another promise a state is looked at again, but counts as one.
  bool WantsState(absl::string_view recording, const CrashState& state,
                  uint64_t promise);

  // Fails the test and says how to see only that state. `recording_text`
  // describes what was recorded.
  void Violation(absl::string_view recording, absl::string_view recording_text,
                 const CrashState& state, absl::string_view what);

  uint64_t states() const { return states_.size(); }
  static bool IsReplay();

 private:
  std::string IdOf(absl::string_view recording, const CrashState& state) const;

  const std::string subject_;
  absl::flat_hash_set<uint64_t> histories_;
  absl::flat_hash_set<uint64_t> states_;
  absl::flat_hash_set<uint64_t> promises_;  // with their states
  uint64_t violations_ = 0;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_CRASH_TALLY_H_
