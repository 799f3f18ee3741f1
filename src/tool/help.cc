// SPDX-License-Identifier: Apache-2.0
#include "help.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace flatcow::tool {
namespace {

std::string OptionColumn(const OptionSpec& spec) {
  std::string column =
      spec.letter == '\0'
          ? "    "
          : absl::StrCat("-", std::string(1, spec.letter), ", ");
  absl::StrAppend(&column, "--", spec.name);
  if (spec.argument != nullptr) absl::StrAppend(&column, "=", spec.argument);
  return column;
}

std::string OptionLines(absl::Span<const OptionSpec> options) {
  std::vector<OptionSpec> all(options.begin(), options.end());
  all.push_back(kHelpOption);
  size_t width = 0;
  for (const OptionSpec& spec : all) {
    width = std::max(width, OptionColumn(spec).size());
  }
  std::string lines = "Options:\n";
  for (const OptionSpec& spec : all) {
    absl::StrAppendFormat(&lines, "  %-*s  %s\n", static_cast<int>(width),
                          OptionColumn(spec), spec.help);
  }
  return lines;
}

}  // namespace

std::string ToolHelp() {
  std::string text =
      "usage: flatcow-img VERB [OPTION...] FILE...\n"
      "Makes, inspects, checks and rewrites copy-on-write disk images.\n"
      "\n"
      "Verbs:\n";
  size_t width = 0;
  for (const Command* command : Commands()) {
    width = std::max(width, command->name.size());
  }
  for (const Command* command : Commands()) {
    absl::StrAppendFormat(&text, "  %-*s  %s\n", static_cast<int>(width),
                          command->name, command->summary);
  }
  absl::StrAppend(&text, "\n", OptionLines(kToolOptions),
                  "\n"
                  "Formats: add-cow, qcow2, qed, raw. 'flatcow-img VERB "
                  "--help' shows a verb's\noptions. "
                  "The manual is flatcow-img(1).\n");
  return text;
}

std::string CommandHelp(const Command& command) {
  return absl::StrCat("usage: flatcow-img ", command.name, " ",
                      command.synopsis, "\n", command.summary, "\n\n",
                      OptionLines(command.options));
}

}  // namespace flatcow::tool
