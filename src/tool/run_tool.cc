// SPDX-License-Identifier: Apache-2.0
#include "run_tool.h"

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "command.h"
#include "common_options.h"
#include "exit_code.h"
#include "flatcow/printable.h"
#include "help.h"
#include "options.h"
#include "output.h"

namespace flatcow::tool {
namespace {

absl::Status Misused(absl::string_view message) {
  return absl::InvalidArgumentError(
      absl::StrCat(message, "; try 'flatcow-img --help'"));
}

absl::StatusOr<int> RunCommand(const Command& command,
                               absl::Span<const std::string> args,
                               const Streams& streams) {
  absl::StatusOr<ParsedArguments> arguments =
      ParseArguments(args, command.options, command.operands);
  if (!arguments.ok()) {
    return UsageError(command.name, arguments.status().message());
  }
  if (arguments->Has("help")) {
    streams.out << CommandHelp(command);
    return 0;
  }
  return command.run(*arguments, streams);
}

// `prefix` becomes what an error line begins with.
absl::StatusOr<int> Run(absl::Span<const std::string> args,
                        const Streams& streams, std::string& prefix) {
  absl::StatusOr<ParsedArguments> arguments =
      ParseArguments(args, kToolOptions, OperandRule::kStop);
  if (!arguments.ok()) return Misused(arguments.status().message());
  if (arguments->Has("help")) {
    streams.out << ToolHelp();
    return 0;
  }
  if (arguments->Has("version")) {
    streams.out << "flatcow-img " FLATCOW_VERSION "\n";
    return 0;
  }
  const std::vector<std::string>& words = arguments->operands();
  if (words.empty()) return Misused("no verb was given");
  const Command* command = FindCommand(words[0]);
  if (command == nullptr) {
    return Misused(absl::StrCat("unknown verb '", words[0], "'"));
  }
  absl::StrAppend(&prefix, command->name, ": ");
  const absl::StatusOr<int> code =
      RunCommand(*command, absl::MakeConstSpan(words).subspan(1), streams);
  if (code.ok()) return code;
  return WithExitCode(code.status(),
                      ExitCodeOf(code.status(), command->error_code));
}

}  // namespace

int RunTool(const std::vector<std::string>& args, const Streams& streams) {
  std::string prefix = "flatcow-img: ";
  absl::StatusOr<int> code = Run(args, streams, prefix);
  if (code.ok() && !streams.out.flush()) {
    code = absl::DataLossError("the output could not be written");
  }
  if (code.ok()) return *code;
  streams.err << prefix << Printable(code.status().message()) << '\n';
  return ExitCodeOf(code.status(), 1);
}

}  // namespace flatcow::tool
