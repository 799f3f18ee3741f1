// SPDX-License-Identifier: Apache-2.0
//
// The verbs. A verb is one file cmd_<verb>.cc that defines a Command, one line
// here, one in command.cc and one in meson.build; parsing and help follow from
// its option table.
#ifndef FLATCOW_TOOL_COMMAND_H_
#define FLATCOW_TOOL_COMMAND_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "options.h"
#include "streams.h"

namespace flatcow::tool {

struct Command {
  absl::string_view name;
  absl::string_view summary;   // what it does, in half a line
  absl::string_view synopsis;  // everything behind the name
  absl::Span<const OptionSpec> options;

  // Does the work. Return values: the exit code; an error is printed by the
  // caller as one line behind the program's and the verb's name, and ends in
  // the code that WithExitCode() gave it, or in `error_code`.
  absl::StatusOr<int> (*run)(const ParsedArguments& arguments,
                             const Streams& streams);

  int error_code = 1;
  OperandRule operands = OperandRule::kMixed;
};

extern const Command kAmendCommand;
extern const Command kCheckCommand;
extern const Command kCommitCommand;
extern const Command kCompareCommand;
extern const Command kConvertCommand;
extern const Command kCreateCommand;
extern const Command kFlattenCommand;
extern const Command kInfoCommand;
extern const Command kMapCommand;
extern const Command kMeasureCommand;
extern const Command kRebaseCommand;
extern const Command kResizeCommand;

// All verbs, in the order of the help.
absl::Span<const Command* const> Commands();

// Null when there is no such verb.
const Command* FindCommand(absl::string_view name);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_COMMAND_H_
