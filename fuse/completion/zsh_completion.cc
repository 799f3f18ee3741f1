// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "completion.h"
#include "options.h"

namespace flatcow::daemon {
namespace {

constexpr char kHead[] = R"(#compdef flatcow
# SPDX-License-Identifier: Apache-2.0

local context state state_descr line ret=1
typeset -A opt_args

_arguments -s -S \
  '-f[stay in the foreground]' \
  '-d[stay in the foreground and print every request]' \
  '(- *)'{-h,--help}'[print the options and exit]' \
  '(- *)'{-V,--version}'[print the version and exit]' \
  '*-o+[mount options]:mount option:->options' \
  '1:source:_files' \
  '2:mount point:_files -/' && ret=0

[[ $state == options ]] && _values -s , 'mount option' \
)";

// `text` inside single quotes, where _values reads it.
std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(
      text, {{"'", "'\\''"}, {"[", "\\["}, {"]", "\\]"}, {":", "\\:"}});
}

std::string Action(absl::string_view argument) {
  if (argument == "DIR") return "_files -/";
  if (argument.find('|') == absl::string_view::npos) return " ";
  return absl::StrCat("(", absl::StrReplaceAll(argument, {{"|", " "}}), ")");
}

// One specification of _values.
std::string Specification(const OptionWord& word) {
  std::string text =
      absl::StrCat("'", word.name == "allow" ? "*" : "", Escaped(word.name));
  if (!word.help.empty()) {
    absl::StrAppend(&text, "[", Escaped(word.help), "]");
  }
  if (!word.argument.empty()) {
    absl::StrAppend(&text, ":", Escaped(word.argument), ":",
                    Action(word.argument));
  }
  return absl::StrCat(text, "'");
}

}  // namespace

std::string ZshCompletion() {
  std::string text = kHead;
  for (const OptionWord& word : OptionWords()) {
    absl::StrAppend(&text, "  ", Specification(word), " \\\n");
  }
  return absl::StrCat(text, "  && ret=0\nreturn ret\n");
}

}  // namespace flatcow::daemon
