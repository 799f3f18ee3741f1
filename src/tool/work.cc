// SPDX-License-Identifier: Apache-2.0
#include "work.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "exit_code.h"
#include "flatcow/status.h"

namespace flatcow::tool {

Work::Work(const ParsedArguments& arguments, const Streams& streams)
    : progress_(streams, arguments.Has("progress") && !arguments.Has("quiet")) {
}

WorkOptions Work::Options() {
  WorkOptions options;
  options.progress = [this](uint64_t done, uint64_t total) {
    progress_.Update(done, total);
    return interruption_.signal() == 0;
  };
  return options;
}

absl::Status Work::End(const absl::Status& status, absl::string_view file,
                       absl::string_view worth) {
  progress_.End(status.ok());
  const int signal = interruption_.signal();
  if (signal == 0 || ErrnoOf(status) != EINTR) return status;
  return WithExitCode(
      MakeError(EINTR, absl::StrCat(file, ": interrupted: ", worth)),
      128 + signal);
}

}  // namespace flatcow::tool
