// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/types/span.h"
#include "argument_kind.h"
#include "command.h"
#include "completion.h"
#include "help.h"
#include "options.h"

namespace flatcow::tool {
namespace {

// `text` inside single quotes, where _arguments and _describe read it.
std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(
      text, {{"'", "'\\''"}, {"[", "\\["}, {"]", "\\]"}, {":", "\\:"}});
}

std::string Action(absl::string_view argument) {
  const ArgumentKind kind = KindOf(argument);
  if (kind.file) return "_files";
  if (kind.words.empty()) return " ";
  return absl::StrCat("(", absl::StrJoin(kind.words, " "), ")");
}

// One specification of _arguments.
std::string Specification(const OptionSpec& option) {
  const bool takes = option.argument != nullptr;
  const std::string name = absl::StrCat("--", option.name, takes ? "=" : "");
  std::string text;
  if (option.letter == '\0') {
    absl::StrAppend(&text, "'", name);
  } else {
    const std::string letter = absl::StrCat("-", std::string(1, option.letter));
    absl::StrAppend(&text, "'(", letter, " --", option.name, ")'{", letter,
                    takes ? "+," : ",", name, "}'");
  }
  absl::StrAppend(&text, "[", Escaped(option.help), "]");
  if (takes) {
    absl::StrAppend(&text, ":", Escaped(option.argument), ":",
                    Action(option.argument));
  }
  return absl::StrCat(text, "'");
}

std::string Specifications(absl::Span<const OptionSpec> options,
                           absl::string_view indent) {
  std::string text;
  for (const OptionSpec& option : options) {
    absl::StrAppend(&text, indent, Specification(option), " \\\n");
  }
  return absl::StrCat(text, indent, Specification(kHelpOption), " \\\n");
}

}  // namespace

std::string ZshCompletion() {
  std::string verbs;
  std::string cases;
  for (const Command* command : Commands()) {
    absl::StrAppend(&verbs, "        '", command->name, ":",
                    Escaped(command->summary), "'\n");
    absl::StrAppend(&cases, "        ", command->name,
                    ")\n          _arguments -s -S \\\n",
                    Specifications(command->options, "            "),
                    "            '*:file:_files'\n          ;;\n");
  }
  return absl::StrCat(
      "#compdef flatcow-img\n"
      "# SPDX-License-Identifier: Apache-2.0\n\n"
      "local context state state_descr line ret=1\n"
      "local -a verbs\n"
      "typeset -A opt_args\n\n"
      "_arguments -C \\\n",
      Specifications(kToolOptions, "  "),
      "  '1:verb:->verb' \\\n"
      "  '*::argument:->arguments' && ret=0\n\n"
      "case $state in\n"
      "  verb)\n"
      "    verbs=(\n",
      verbs,
      "    )\n"
      "    _describe verb verbs && ret=0\n"
      "    ;;\n"
      "  arguments)\n"
      "    case $words[1] in\n",
      cases,
      "    esac && ret=0\n"
      "    ;;\n"
      "esac\n"
      "return ret\n");
}

}  // namespace flatcow::tool
