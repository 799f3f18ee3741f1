// SPDX-License-Identifier: Apache-2.0
//
// Options that several verbs share, so that they mean and say the same
// everywhere.
#ifndef FLATCOW_TOOL_COMMON_OPTIONS_H_
#define FLATCOW_TOOL_COMMON_OPTIONS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "options.h"

namespace flatcow::tool {

inline constexpr OptionSpec kFormatOption = {
    'f', "format", "FMT", "format of FILE (default: found by its magic)"};
inline constexpr OptionSpec kForceShareOption = {
    'U', "force-share", nullptr,
    "read FILE beside a program that writes to it"};
inline constexpr OptionSpec kOutputOption = {
    '\0', "output", "human|json", "how to print the result (default: human)"};
inline constexpr OptionSpec kQuietOption = {'q', "quiet", nullptr,
                                            "print errors only"};

// An error about how the verb was called: names its help.
absl::Status UsageError(absl::string_view verb, absl::string_view message);

// The only operand. Errors: UsageError() when there is none or more than one.
absl::StatusOr<std::string> SingleFile(absl::string_view verb,
                                       const ParsedArguments& arguments);

// As many operands as there are names, which the errors call them by.
absl::Status CheckOperands(absl::string_view verb,
                           const ParsedArguments& arguments,
                           absl::Span<const absl::string_view> names);

enum class OutputFormat { kHuman, kJson };

// What --output says. Errors: UsageError() for any other word.
absl::StatusOr<OutputFormat> GetOutputFormat(absl::string_view verb,
                                             const ParsedArguments& arguments);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_COMMON_OPTIONS_H_
