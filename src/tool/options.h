// SPDX-License-Identifier: Apache-2.0
//
// Command lines after getopt_long's rules, driven by a table that the help
// text is made from as well.
//
//   constexpr OptionSpec kOptions[] = {
//       {'q', "quiet", nullptr, "print nothing but errors"},
//       {'f', "format", "FMT", "the image's format"},
//   };
//   auto arguments = ParseArguments({"-qf", "qed", "disk"}, kOptions);
//   arguments->Has("quiet");      // true
//   arguments->Value("format");   // "qed"
//   arguments->operands();        // {"disk"}
#ifndef FLATCOW_TOOL_OPTIONS_H_
#define FLATCOW_TOOL_OPTIONS_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace flatcow::tool {

struct OptionSpec {
  char letter;           // '\0' when there is only the long form
  const char* name;      // the long form, without dashes
  const char* argument;  // what the help calls its argument; null: it has none
  const char* help;      // one line
};

// Every table has this one without listing it.
inline constexpr OptionSpec kHelpOption = {'h', "help", nullptr,
                                           "show this help"};

// What a command line said. Options are asked for by their long name.
class ParsedArguments {
 public:
  bool Has(absl::string_view name) const { return Value(name).has_value(); }

  // The argument of the option's last appearance ("" when it takes none);
  // nullopt when it was not given.
  std::optional<std::string> Value(absl::string_view name) const;

  // The arguments of all its appearances, in order.
  std::vector<std::string> Values(absl::string_view name) const;

  const std::vector<std::string>& operands() const { return operands_; }

  void AddOption(std::string name, std::string value) {
    options_.emplace_back(std::move(name), std::move(value));
  }
  void AddOperand(std::string operand) {
    operands_.push_back(std::move(operand));
  }

 private:
  std::vector<std::pair<std::string, std::string>> options_;
  std::vector<std::string> operands_;
};

enum class OperandRule {
  kMixed,    // options may follow operands
  kNumbers,  // the same; - and a digit begin an operand
  kStop,     // the first operand ends the options, as `--` does
};

// Takes -x, -xyz, -xARG, -x ARG, --name, --name=ARG, --name ARG, the beginning
// of a long name that fits no other, and `--`. A lone `-` is an operand.
// Errors: INVALID_ARGUMENT, a message that names the option.
absl::StatusOr<ParsedArguments> ParseArguments(
    absl::Span<const std::string> args, absl::Span<const OptionSpec> specs,
    OperandRule rule = OperandRule::kMixed);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_OPTIONS_H_
