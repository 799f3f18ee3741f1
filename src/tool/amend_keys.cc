// SPDX-License-Identifier: Apache-2.0
#include "amend_keys.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"

namespace flatcow::tool {
namespace {

template <std::optional<std::string> AmendOptions::*member>
absl::Status StoreText(absl::string_view value, AmendOptions& options) {
  options.*member = std::string(value);
  return absl::OkStatus();
}

absl::Status StoreCompat(absl::string_view value, AmendOptions& options) {
  if (value == "final") return StoreText<&AmendOptions::compat>(value, options);
  return absl::InvalidArgumentError(
      absl::StrCat("there is no layout '", value, "': the only one is final"));
}

constexpr AmendKey kBackingFile = {"backing_file", "NAME",
                                   "file that unwritten clusters are read from",
                                   StoreText<&AmendOptions::backing_file>};
constexpr AmendKey kBackingFormat = {"backing_fmt", "FMT",
                                     "its format (empty: found by its magic)",
                                     StoreText<&AmendOptions::backing_format>};

constexpr AmendKey kAddCowKeys[] = {
    {"compat", "final", "layout of the header", StoreCompat},
    {"image_file", "NAME", "file that written clusters are in",
     StoreText<&AmendOptions::data_file>},
    {"image_fmt", "FMT", "its format", StoreText<&AmendOptions::data_format>},
    kBackingFile,
    kBackingFormat,
};

constexpr AmendKey kQcow2Keys[] = {
    {"data_file", "NAME", "file that written clusters are in",
     StoreText<&AmendOptions::data_file>},
    kBackingFile,
    kBackingFormat,
};

constexpr AmendKey kQedKeys[] = {kBackingFile, kBackingFormat};

}  // namespace

absl::StatusOr<absl::Span<const AmendKey>> AmendKeys(absl::string_view format) {
  if (format == "add-cow") return kAddCowKeys;
  if (format == "qcow2") return kQcow2Keys;
  if (format == "qed") return kQedKeys;
  return absl::InvalidArgumentError(
      absl::StrCat("format '", format,
                   "' records nothing that can be amended: expected "
                   "add-cow, qcow2 or qed"));
}

}  // namespace flatcow::tool
