// SPDX-License-Identifier: Apache-2.0
//
// What the verbs that go through a whole disk have in common: -p, and an end
// at Ctrl-C that says what state things are in.
//
//   Work work(arguments, streams);
//   options.work = work.Options();
//   auto result = FlattenImage(PosixFileSystem(), file, options);
//   absl::Status status = work.End(result.status(), file, "shows the same");
#ifndef FLATCOW_TOOL_WORK_H_
#define FLATCOW_TOOL_WORK_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "flatcow/image_ops.h"
#include "interruption.h"
#include "options.h"
#include "progress.h"
#include "streams.h"

namespace flatcow::tool {

inline constexpr OptionSpec kProgressOption = {'p', "progress", nullptr,
                                               "show how far the work is"};

class Work {
 public:
  // -q of the arguments wins over -p.
  Work(const ParsedArguments& arguments, const Streams& streams);

  // Valid as long as this object.
  WorkOptions Options();

  // Ends the progress line. Return values: `status`; when the work was stopped
  // by a signal, an error with the exit code 128 + the signal that says for
  // `file` what `worth` tells.
  absl::Status End(const absl::Status& status, absl::string_view file,
                   absl::string_view worth);

 private:
  Interruption interruption_;
  Progress progress_;
};

// What to tell of an image that a verb rewrites.
inline constexpr absl::string_view kSameDisk =
    "it shows the same disk, and the same command finishes the work";

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_WORK_H_
