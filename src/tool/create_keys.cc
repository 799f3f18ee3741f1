// SPDX-License-Identifier: Apache-2.0
#include "create_keys.h"

#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
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

absl::Status StoreRefcountBits(absl::string_view value,
                               CreateOptions& options) {
  if (absl::SimpleAtoi(value, &options.refcount_bits) &&
      options.refcount_bits != 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("expects a number from 1 to 64, not '", value, "'"));
}

absl::Status StoreDataFileRaw(absl::string_view value, CreateOptions& options) {
  options.data_file_raw = value == "on";
  if (value == "on" || value == "off") return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("expects 'on' or 'off', not '", value, "'"));
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
     StoreText<&CreateOptions::data_file>},
    {"image_fmt", "FMT", "its format (default: raw)",
     StoreText<&CreateOptions::data_format>},
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

constexpr CreateKey kQcow2Keys[] = {
    {"data_file", "NAME",
     "file that written clusters go to (required; made if missing)",
     StoreText<&CreateOptions::data_file>},
    {"data_file_raw", "on|off",
     "that file by itself is always the disk (default: off)", StoreDataFileRaw},
    kBackingFile,
    kBackingFormat,
    kClusterSize,
    {"refcount_bits", "COUNT",
     "bits of a reference count, a power of two (default: 16)",
     StoreRefcountBits},
};

}  // namespace

absl::StatusOr<absl::Span<const CreateKey>> CreateKeys(
    absl::string_view format) {
  if (format == "add-cow") return kAddCowKeys;
  if (format == "qcow2") return kQcow2Keys;
  if (format == "qed") return kQedKeys;
  if (format == "raw") return absl::Span<const CreateKey>();
  return absl::InvalidArgumentError(
      absl::StrCat("format '", format,
                   "' can't be created: expected add-cow, qcow2, qed or raw"));
}

absl::Status StoreKeys(absl::string_view list, CreateOptions& options) {
  const absl::StatusOr<absl::Span<const CreateKey>> keys =
      CreateKeys(options.format);
  if (!keys.ok()) return keys.status();
  return StoreKeyList(list, options.format, *keys, options);
}

}  // namespace flatcow::tool
