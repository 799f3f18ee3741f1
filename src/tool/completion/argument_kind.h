// SPDX-License-Identifier: Apache-2.0
//
// What the name that the help gives an option's argument says about it.
#ifndef FLATCOW_TOOL_COMPLETION_ARGUMENT_KIND_H_
#define FLATCOW_TOOL_COMPLETION_ARGUMENT_KIND_H_

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace flatcow::tool {

struct ArgumentKind {
  std::vector<std::string> words;  // one of these
  bool file = false;               // the name of a file
};

// "human|json" is one of two words, FMT a format, NAME a file.
inline ArgumentKind KindOf(absl::string_view argument) {
  if (argument == "FMT") return {{"add-cow", "qcow2", "qed", "raw"}, false};
  if (argument.find('|') != absl::string_view::npos) {
    return {absl::StrSplit(argument, '|'), false};
  }
  return {{}, argument == "NAME"};
}

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_COMPLETION_ARGUMENT_KIND_H_
