// SPDX-License-Identifier: Apache-2.0
#include "format/registry.h"

#include <array>
#include <cerrno>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "io/read_to_end.h"

namespace flatcow {
namespace {

constexpr const FormatDriver* kFormats[] = {&kRawFormat, &kAddCowFormat,
                                            &kQedFormat, &kQcow2Format};

// Formats that are recognised in order to be refused by name: read as raw,
// their metadata would pass for a disk.
struct UnsupportedMagic {
  absl::string_view magic;
  const char* name;
};
constexpr UnsupportedMagic kUnsupported[] = {
    {absl::string_view("ADD_COW\xff", 8), "add-cow 2012 draft"},
};

}  // namespace

absl::Span<const FormatDriver* const> AllFormats() { return kFormats; }

absl::StatusOr<const FormatDriver*> FormatByName(absl::string_view name) {
  for (const FormatDriver* driver : kFormats) {
    if (name == driver->name) return driver;
  }
  return MakeError(ENOTSUP,
                   absl::StrCat("unknown format '", name,
                                "'; the formats are raw, add-cow, qed and "
                                "qcow2"));
}

absl::StatusOr<const FormatDriver*> FormatByMagic(const File& file) {
  std::array<uint8_t, kProbeBytes> head{};
  ASSIGN_OR_RETURN(const size_t length,
                   ReadToEnd(file, 0, absl::MakeSpan(head)));
  const absl::string_view text(reinterpret_cast<const char*>(head.data()),
                               length);
  for (const UnsupportedMagic& unsupported : kUnsupported) {
    if (absl::StartsWith(text, unsupported.magic)) {
      return MakeError(ENOTSUP,
                       absl::StrCat(file.path(), ": is a ", unsupported.name,
                                    " image, which this version does not "
                                    "support; supported are raw, add-cow, qed "
                                    "and qcow2"));
    }
  }
  for (const FormatDriver* driver : kFormats) {
    if (driver->probe(absl::MakeConstSpan(head.data(), length))) return driver;
  }
  return &kRawFormat;
}

absl::StatusOr<const FormatDriver*> FormatOf(const File& file,
                                             absl::string_view name) {
  if (name.empty()) return FormatByMagic(file);
  auto driver = FormatByName(name);
  if (!driver.ok()) return Annotate(driver.status(), file.path());
  return driver;
}

}  // namespace flatcow
