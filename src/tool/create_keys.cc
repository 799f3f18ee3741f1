// SPDX-License-Identifier: Apache-2.0
#include "create_keys.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "size.h"

namespace flatcow::tool {
namespace {

template <std::string CreateOptions::*member>
absl::Status StoreText(absl::string_view value, CreateOptions& options) {
  if (value.empty()) return absl::InvalidArgumentError("needs a value");
  options.*member = std::string(value);
  return absl::OkStatus();
}

template <uint32_t CreateOptions::*member>
absl::Status StoreSize(absl::string_view value, CreateOptions& options) {
  const absl::StatusOr<uint64_t> size = ParseSize(value);
  if (!size.ok()) return size.status();
  if (*size == 0 || *size > std::numeric_limits<uint32_t>::max()) {
    return absl::OutOfRangeError(
        absl::StrCat("'", value, "' must be between 1 and 4294967295"));
  }
  options.*member = static_cast<uint32_t>(*size);
  return absl::OkStatus();
}

constexpr CreateKey kBackingFile = {
    "backing_file", "NAME", "file that unwritten clusters are read from",
    StoreText<&CreateOptions::backing_file>};
constexpr CreateKey kBackingFormat = {
    "backing_fmt", "FMT", "its format (default: found by its magic)",
    StoreText<&CreateOptions::backing_format>};
constexpr CreateKey kClusterSize = {
    "cluster_size", "SIZE", "unit of allocation in bytes (default: 65536)",
    StoreSize<&CreateOptions::cluster_size>};

constexpr CreateKey kAddCowKeys[] = {
    {"image_file", "NAME",
     "file that written clusters go to (required; made if missing)",
     StoreText<&CreateOptions::image_file>},
    {"image_fmt", "FMT", "its format (default: raw)",
     StoreText<&CreateOptions::image_format>},
    kBackingFile,
    kBackingFormat,
    kClusterSize,
};

constexpr CreateKey kQedKeys[] = {
    kBackingFile,
    kBackingFormat,
    kClusterSize,
    {"table_size", "COUNT", "clusters in an L1 or L2 table (default: 4)",
     StoreSize<&CreateOptions::table_size>},
};

// Cuts `list` at its single commas; a double comma becomes one.
std::vector<std::string> SplitList(absl::string_view list) {
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

absl::Status StoreKey(absl::Span<const CreateKey> keys, absl::string_view item,
                      CreateOptions& options) {
  const size_t equals = item.find('=');
  const absl::string_view name = item.substr(0, equals);
  for (const CreateKey& key : keys) {
    if (key.name != name) continue;
    const absl::string_view value =
        equals == absl::string_view::npos ? "" : item.substr(equals + 1);
    const absl::Status status = key.store(value, options);
    if (status.ok()) return status;
    return absl::Status(status.code(),
                        absl::StrCat("option ", name, ": ", status.message()));
  }
  if (keys.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "unknown option '", name, "': format ", options.format, " has none"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown option '", name, "': format ", options.format, " has ",
      absl::StrJoin(keys, ", ", [](std::string* out, const CreateKey& key) {
        absl::StrAppend(out, key.name);
      })));
}

}  // namespace

absl::StatusOr<absl::Span<const CreateKey>> CreateKeys(
    absl::string_view format) {
  if (format == "add-cow") return kAddCowKeys;
  if (format == "qed") return kQedKeys;
  if (format == "raw") return absl::Span<const CreateKey>();
  return absl::InvalidArgumentError(absl::StrCat(
      "format '", format, "' can't be created: expected add-cow, qed or raw"));
}

absl::Status StoreKeys(absl::string_view list, CreateOptions& options) {
  const absl::StatusOr<absl::Span<const CreateKey>> keys =
      CreateKeys(options.format);
  if (!keys.ok()) return keys.status();
  for (const std::string& item : SplitList(list)) {
    if (item.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("option list '", list,
                       "' has an empty item: expected KEY=VALUE,... with "
                       "commas inside a value doubled"));
    }
    const absl::Status status = StoreKey(*keys, item, options);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

std::string CreateKeysHelp(absl::string_view format,
                           absl::Span<const CreateKey> keys) {
  if (keys.empty())
    return absl::StrCat("Format ", format, " has no options.\n");
  std::string text = absl::StrCat("Supported ", format, " options:\n");
  for (const CreateKey& key : keys) {
    absl::StrAppendFormat(&text, "  %-19s  %s\n",
                          absl::StrCat(key.name, "=", key.argument), key.help);
  }
  return text;
}

std::string EscapeCommas(absl::string_view value) {
  return absl::StrReplaceAll(value, {{",", ",,"}});
}

}  // namespace flatcow::tool
