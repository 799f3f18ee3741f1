// SPDX-License-Identifier: Apache-2.0
//
// The values of -o: KEY=VALUE,... with a comma inside a value written twice, as
// for qemu-img. A verb and a format say which keys there are by a table, which
// the help is made from as well.
#ifndef FLATCOW_TOOL_KEY_LIST_H_
#define FLATCOW_TOOL_KEY_LIST_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace flatcow::tool {

// A key and where its value goes.
template <typename Options>
struct Key {
  absl::string_view name;
  absl::string_view argument;  // what the help calls its value
  absl::string_view help;
  // Stores a value. Errors: INVALID_ARGUMENT or OUT_OF_RANGE.
  absl::Status (*store)(absl::string_view value, Options& options);
};

// Cuts a list into names and values; an item without '=' has the value "".
// Errors: INVALID_ARGUMENT an empty item.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> SplitKeys(
    absl::string_view list);

// `value` as it must be written inside a list.
std::string EscapeCommas(absl::string_view value);

// Is it what asks for the keys?
inline bool AsksForKeys(absl::string_view list) {
  return list == "help" || list == "?";
}

// A line of help.
std::string KeyHelp(absl::string_view name, absl::string_view argument,
                    absl::string_view help);

// The error about a key that the format doesn't have; names those it has.
absl::Status UnknownKey(absl::string_view name, absl::string_view format,
                        absl::Span<const absl::string_view> known);

// Stores every item of `list`; a later one replaces an earlier.
// Errors: INVALID_ARGUMENT not such a list, a key that is not among `keys`, or
// a bad value.
template <typename Options>
absl::Status StoreKeyList(absl::string_view list, absl::string_view format,
                          absl::Span<const Key<Options>> keys,
                          Options& options) {
  const auto items = SplitKeys(list);
  if (!items.ok()) return items.status();
  for (const auto& [name, value] : *items) {
    const Key<Options>* found = nullptr;
    std::vector<absl::string_view> known;
    for (const Key<Options>& key : keys) {
      known.push_back(key.name);
      if (key.name == name) found = &key;
    }
    if (found == nullptr) return UnknownKey(name, format, known);
    const absl::Status status = found->store(value, options);
    if (!status.ok()) {
      return absl::Status(
          status.code(), absl::StrCat("option ", name, ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

// The answer to `-o help`.
template <typename Options>
std::string KeysHelp(absl::string_view format,
                     absl::Span<const Key<Options>> keys) {
  if (keys.empty()) {
    return absl::StrCat("Format ", format, " has no options.\n");
  }
  std::string text = absl::StrCat("Supported ", format, " options:\n");
  for (const Key<Options>& key : keys) {
    absl::StrAppend(&text, KeyHelp(key.name, key.argument, key.help));
  }
  return text;
}

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_KEY_LIST_H_
