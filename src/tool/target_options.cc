// SPDX-License-Identifier: Apache-2.0
#include "target_options.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "create_keys.h"

namespace flatcow::tool {

absl::StatusOr<std::string> AnswerAboutKeys(const ParsedArguments& arguments,
                                            absl::string_view format) {
  for (const std::string& list : arguments.Values(kKeysOption.name)) {
    if (!AsksForKeys(list)) continue;
    const auto keys = CreateKeys(format);
    if (!keys.ok()) return keys.status();
    return KeysHelp(format, *keys);
  }
  return "";
}

absl::StatusOr<CreateOptions> ParseTarget(const ParsedArguments& arguments,
                                          absl::string_view format) {
  CreateOptions options;
  options.format = std::string(format);
  for (const std::string& list : arguments.Values(kKeysOption.name)) {
    const absl::Status status = StoreKeys(list, options);
    if (!status.ok()) return status;
  }
  const struct {
    const char* option;
    const char* key;
  } kLetters[] = {{"backing", "backing_file"},
                  {kBackingFormatOption.name, "backing_fmt"}};
  for (const auto& letter : kLetters) {
    const std::optional<std::string> value = arguments.Value(letter.option);
    if (!value.has_value()) continue;
    if (format == "raw") {
      return absl::InvalidArgumentError(
          "format raw has no backing file; take add-cow, qcow2 or qed");
    }
    const absl::Status status =
        StoreKeys(absl::StrCat(letter.key, "=", EscapeCommas(*value)), options);
    if (!status.ok()) return status;
  }
  return options;
}

}  // namespace flatcow::tool
