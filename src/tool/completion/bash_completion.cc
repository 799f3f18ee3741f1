// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "argument_kind.h"
#include "command.h"
#include "completion.h"
#include "help.h"
#include "options.h"

namespace flatcow::tool {
namespace {

constexpr char kHead[] = R"(# SPDX-License-Identifier: Apache-2.0
# Completion of flatcow-img for bash.

_flatcow_img() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local verb= options= words= i
  COMPREPLY=()
  # Bash takes --name=value for three words.
  if [[ $current == '=' ]]; then
    current=
  elif [[ $previous == '=' ]]; then
    previous=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ ${COMP_WORDS[i]} == -* ]] && continue
    verb=${COMP_WORDS[i]}
    break
  done
)";

constexpr char kTail[] = R"(
  case $words in
    FILE) ;;
    ANY) return ;;
    ?*)
      mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
      return
      ;;
    *)
      if [[ -z $verb || $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
        return
      fi
      ;;
  esac
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -f -- "$current")
}

complete -F _flatcow_img flatcow-img
)";

void AppendNames(const OptionSpec& option, std::vector<std::string>& names) {
  if (option.letter != '\0') {
    names.push_back(absl::StrCat("-", std::string(1, option.letter)));
  }
  names.push_back(absl::StrCat("--", option.name));
}

std::string Names(absl::Span<const OptionSpec> options) {
  std::vector<std::string> names;
  for (const OptionSpec& option : options) AppendNames(option, names);
  AppendNames(kHelpOption, names);
  return absl::StrJoin(names, " ");
}

// What may stand behind an option, in the script's terms.
std::string Words(absl::string_view argument) {
  const ArgumentKind kind = KindOf(argument);
  if (kind.file) return "FILE";
  return kind.words.empty() ? "ANY" : absl::StrJoin(kind.words, " ");
}

std::string CommandCase(const Command& command) {
  std::string text =
      absl::StrCat("    ", command.name, ")\n      options='",
                   Names(command.options), "'\n      case $previous in\n");
  for (const OptionSpec& option : command.options) {
    if (option.argument == nullptr) continue;
    std::vector<std::string> names;
    AppendNames(option, names);
    absl::StrAppend(&text, "        ", absl::StrJoin(names, " | "), ") words='",
                    Words(option.argument), "' ;;\n");
  }
  absl::StrAppend(&text, "      esac\n      ;;\n");
  return text;
}

}  // namespace

std::string BashCompletion() {
  std::string verbs;
  std::string cases;
  for (const Command* command : Commands()) {
    absl::StrAppend(&verbs, command->name, " ");
    absl::StrAppend(&cases, CommandCase(*command));
  }
  return absl::StrCat(kHead, "  case $verb in\n    '') options='", verbs,
                      Names(kToolOptions), "' ;;\n", cases, "  esac\n", kTail);
}

}  // namespace flatcow::tool
