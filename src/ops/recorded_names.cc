// SPDX-License-Identifier: Apache-2.0
#include "ops/recorded_names.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/registry.h"

namespace flatcow {
namespace {

absl::Status CheckFormat(const std::optional<std::string>& format) {
  if (!format.has_value() || format->empty()) return absl::OkStatus();
  return FormatByName(*format).status();
}

absl::Status ChangeBacking(const File& file, const AmendOptions& change,
                           std::optional<ImageLink>& backing) {
  if (change.backing_file.has_value()) {
    if (change.backing_file->empty()) {
      backing.reset();
    } else {
      if (!backing.has_value()) backing.emplace();
      backing->name = *change.backing_file;
    }
  }
  if (!change.backing_format.has_value()) return absl::OkStatus();
  if (backing.has_value()) {
    backing->format = *change.backing_format;
    return absl::OkStatus();
  }
  if (change.backing_format->empty()) return absl::OkStatus();
  return MakeError(
      EINVAL,
      absl::StrCat(file.path(), ": a backing format needs a backing file"));
}

}  // namespace

absl::StatusOr<Names> ChangedNames(const File& file, const FormatDriver& driver,
                                   const FormatHeader& header,
                                   const AmendOptions& change) {
  RETURN_IF_ERROR(CheckFormat(change.backing_format));
  RETURN_IF_ERROR(CheckFormat(change.data_format));
  Names names{header.backing, header.data_file};
  RETURN_IF_ERROR(ChangeBacking(file, change, names.backing));
  if (!change.data_file.has_value() && !change.data_format.has_value()) {
    return names;
  }
  std::optional<ImageLink>& data_file = names.data_file;
  if (!data_file.has_value()) {
    return MakeError(EINVAL, absl::StrCat(file.path(), ": a ", driver.name,
                                          " image has no image file"));
  }
  data_file->name = change.data_file.value_or(data_file->name);
  data_file->format = change.data_format.value_or(data_file->format);
  return names;
}

absl::Status RecordNames(File& file, const FormatDriver& driver,
                         const AmendOptions& change) {
  if (driver.record == nullptr) {
    return MakeError(EINVAL, absl::StrCat(file.path(), ": a ", driver.name,
                                          " image names no other file"));
  }
  ASSIGN_OR_RETURN(const FormatHeader header, driver.read_header(file));
  ASSIGN_OR_RETURN(const Names names,
                   ChangedNames(file, driver, header, change));
  if (names.backing == header.backing && names.data_file == header.data_file) {
    return absl::OkStatus();
  }
  return driver.record(file, names.backing, names.data_file);
}

std::string FoundBackingFormat(const std::string& name, const ImageInfo& info,
                               std::vector<std::string>& warnings) {
  if (info.format == "raw") {
    warnings.push_back(
        absl::StrCat("backing file '", name,
                     "' has no magic and is recorded as raw; say so with "
                     "-F raw"));
  }
  return info.format;
}

}  // namespace flatcow
