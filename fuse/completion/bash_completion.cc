// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "completion.h"
#include "options.h"

namespace flatcow::daemon {
namespace {

// Bash takes what it replaces to begin behind a '=', so `kept` is what has
// been typed of the word since the last one.
constexpr char kHead[] = R"(# SPDX-License-Identifier: Apache-2.0
# Completion of flatcow for bash.

_flatcow() {
  local line=${COMP_LINE:0:COMP_POINT} current before option kept words=
  COMPREPLY=()
  current=${line##*[[:space:]]}
  before=${line%"$current"}
  before=${before%"${before##*[![:space:]]}"}
  if [[ $before != *[[:space:]]-o ]]; then
    if [[ $current == -* ]]; then
      mapfile -t COMPREPLY < <(compgen -W '-f -d -o -h --help -V --version' -- "$current")
    else
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
    return
  fi
  option=${current##*,}
  kept=${current%"$option"}
  kept=${kept##*=}
  if [[ $option != *=* ]]; then
    compopt -o nospace 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -P "$kept" -W ')";

constexpr char kMiddle[] = R"(' -- "$option")
    return
  fi
  case ${option%%=*} in
)";

constexpr char kTail[] = R"(  esac
  if [[ $words == DIR ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -d -- "${option#*=}")
  else
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "${option#*=}")
  fi
}

complete -F _flatcow flatcow
)";

// What may stand behind "name=", in the script's terms; empty when it can't be
// guessed.
std::string Values(absl::string_view argument) {
  if (argument == "DIR") return "DIR";
  if (argument.find('|') == absl::string_view::npos) return "";
  return absl::StrReplaceAll(argument, {{"|", " "}});
}

}  // namespace

std::string BashCompletion() {
  std::string names;
  std::string cases;
  for (const OptionWord& word : OptionWords()) {
    absl::StrAppend(&names, names.empty() ? "" : " ", word.name,
                    word.argument.empty() ? "" : "=");
    const std::string values = Values(word.argument);
    if (!values.empty()) {
      absl::StrAppend(&cases, "    ", word.name, ") words='", values, "' ;;\n");
    }
  }
  return absl::StrCat(kHead, names, kMiddle, cases, kTail);
}

}  // namespace flatcow::daemon
