// SPDX-License-Identifier: Apache-2.0
#include "format/registry.h"

#include <array>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "io/read_to_end.h"

namespace flatcow {
namespace {

constexpr const FormatDriver* kFormats[] = {&kRawFormat, &kAddCowFormat,
                                            &kQedFormat, &kQcow2Format};

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
