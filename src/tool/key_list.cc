// SPDX-License-Identifier: Apache-2.0
#include "key_list.h"

#include <cstddef>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace flatcow::tool {
namespace {

// Cuts `list` at its single commas; a double comma becomes one.
std::vector<std::string> SplitItems(absl::string_view list) {
  std::vector<std::string> items(1);
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] != ',') {
      items.back().push_back(list[i]);
    } else if (i + 1 < list.size() && list[i + 1] == ',') {
      items.back().push_back(',');
      ++i;
    } else {
      items.emplace_back();
    }
  }
  return items;
}

}  // namespace

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> SplitKeys(
    absl::string_view list) {
  std::vector<std::pair<std::string, std::string>> keys;
  for (const std::string& item : SplitItems(list)) {
    if (item.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("option list '", list,
                       "' has an empty item: expected KEY=VALUE,... with "
                       "commas inside a value doubled"));
    }
    const size_t equals = item.find('=');
    keys.emplace_back(item.substr(0, equals), equals == std::string::npos
                                                  ? ""
                                                  : item.substr(equals + 1));
  }
  return keys;
}

std::string EscapeCommas(absl::string_view value) {
  return absl::StrReplaceAll(value, {{",", ",,"}});
}

std::string KeyHelp(absl::string_view name, absl::string_view argument,
                    absl::string_view help) {
  return absl::StrFormat("  %-19s  %s\n", absl::StrCat(name, "=", argument),
                         help);
}

absl::Status UnknownKey(absl::string_view name, absl::string_view format,
                        absl::Span<const absl::string_view> known) {
  return absl::InvalidArgumentError(
      absl::StrCat("unknown option '", name, "': format ", format, " has ",
                   known.empty() ? "none" : absl::StrJoin(known, ", ")));
}

}  // namespace flatcow::tool
