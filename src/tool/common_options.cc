// SPDX-License-Identifier: Apache-2.0
#include "common_options.h"

#include "absl/strings/str_cat.h"

namespace flatcow::tool {

absl::Status UsageError(absl::string_view verb, absl::string_view message) {
  return absl::InvalidArgumentError(
      absl::StrCat(message, "; try 'flatcow-img ", verb, " --help'"));
}

absl::StatusOr<std::string> SingleFile(absl::string_view verb,
                                       const ParsedArguments& arguments) {
  const std::vector<std::string>& operands = arguments.operands();
  if (operands.empty()) return UsageError(verb, "no image file was named");
  if (operands.size() > 1) {
    return UsageError(verb,
                      absl::StrCat("unexpected argument '", operands[1],
                                   "': only one image file can be named"));
  }
  return operands[0];
}

absl::Status CheckOperands(absl::string_view verb,
                           const ParsedArguments& arguments,
                           absl::Span<const absl::string_view> names) {
  const std::vector<std::string>& operands = arguments.operands();
  if (operands.empty()) return UsageError(verb, "no image file was named");
  if (operands.size() < names.size()) {
    return UsageError(verb,
                      absl::StrCat(names[operands.size()], " is missing"));
  }
  if (operands.size() > names.size()) {
    return UsageError(verb, absl::StrCat("unexpected argument '",
                                         operands[names.size()], "'"));
  }
  return absl::OkStatus();
}

absl::StatusOr<OutputFormat> GetOutputFormat(absl::string_view verb,
                                             const ParsedArguments& arguments) {
  const std::string word = arguments.Value("output").value_or("human");
  if (word == "human") return OutputFormat::kHuman;
  if (word == "json") return OutputFormat::kJson;
  return UsageError(
      verb, absl::StrCat("--output must be human or json, not '", word, "'"));
}

}  // namespace flatcow::tool
