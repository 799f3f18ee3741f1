// SPDX-License-Identifier: Apache-2.0
//
// Verbs that write, when the power fails: what they do not change stays as it
// is, what they change is old or new, and they can be run again to the end.
#include <gtest/gtest.h>

#include <exception>
#include <string>
#include <vector>

#include "crash/power_cut.h"
#include "crash/rewriting_verb.h"
#include "crash/tally.h"
#include "crash/verb.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"
#include "support/recording_file_system.h"

namespace flatcow {
namespace {

constexpr char kRecording[] = "run";

class VerbCrashTest : public testing::TestWithParam<Verb> {};

std::string Examine(const Verb& verb, const VerbRun& run,
                    MemoryFileSystem& files, bool returned) try {
  return verb.examine(run, files, returned);
} catch (const std::exception& exception) {
  return exception.what();
}

TEST_P(VerbCrashTest, CanBeInterrupted) {
  const Verb& verb = GetParam();
  Tally tally("verb_" + verb.name);
  if (!tally.WantsRecording(kRecording)) return;
  MemoryFileSystem files;
  verb.prepare(files);
  const auto before = files.Snapshot();
  RecordingFileSystem recorder(files);
  Must(verb.run(recorder, /*again=*/false));
  const std::vector<FileOperation> operations = recorder.Operations();
  const VerbRun run{*before, files};

  const auto wants = [](size_t) { return true; };
  EachCrashState(*before, operations, wants, [&](const CrashState& state) {
    const bool returned = state.operations == operations.size();
    if (!tally.WantsState(kRecording, state, returned ? 1 : 0)) return;
    const std::string failure = Examine(verb, run, state.files, returned);
    if (!failure.empty()) {
      tally.Violation(kRecording, verb.name, state, failure);
    }
  });
  EXPECT_TRUE(Tally::IsReplay() || operations.empty() || tally.states() > 1);
}

INSTANTIATE_TEST_SUITE_P(Rewriting, VerbCrashTest,
                         testing::ValuesIn(RewritingVerbs()),
                         [](const auto& verb) { return verb.param.name; });
INSTANTIATE_TEST_SUITE_P(AllVerbs, VerbCrashTest, testing::ValuesIn(AllVerbs()),
                         [](const auto& verb) { return verb.param.name; });

}  // namespace
}  // namespace flatcow
