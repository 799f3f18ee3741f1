// SPDX-License-Identifier: Apache-2.0
//
// The daemon's command line. Input: words behind the program's name, each ended
// by a NUL.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "flatcow/status.h"
#include "fuzz/fuzz_target.h"
#include "options.h"

namespace flatcow {

void FuzzDaemonOptions(const uint8_t* data, size_t size) {
  std::vector<std::string> arguments = {"flatcow"};
  const std::string text(data, data + size);
  for (absl::string_view word : absl::StrSplit(text, '\0')) {
    arguments.emplace_back(word);
  }
  const std::vector<std::string> copy = arguments;
  const auto options = daemon::ParseOptions(arguments);
  if (arguments != copy) FuzzFinding("parsing changes its input");
  if (!options.ok()) {
    if (ErrnoOf(options.status()) != EINVAL ||
        options.status().message().empty()) {
      FuzzFinding(
          absl::StrCat("an unclear error: ", options.status().ToString()));
    }
    return;
  }
  if (options->help || options->version) return;
  if (options->source.empty() || options->mountpoint.empty()) {
    FuzzFinding("options without operands");
  }
  if (options->debug && !options->foreground) {
    FuzzFinding("-d does not imply -f");
  }
  if (options->allow_other && options->allow_root) {
    FuzzFinding("allow_other and allow_root together");
  }
  if (options->umask > 0777 || options->commit_seconds == 0 ||
      options->max_threads > 1024) {
    FuzzFinding("a number out of range");
  }
}

}  // namespace flatcow
