// SPDX-License-Identifier: Apache-2.0
#include "format/link_name.h"

#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "io/read_to_end.h"

namespace flatcow {

absl::StatusOr<std::string> ReadLinkName(const File& file,
                                         absl::string_view field,
                                         uint64_t offset, uint32_t size) {
  std::string name(size, '\0');
  ASSIGN_OR_RETURN(
      const size_t length,
      ReadToEnd(file, offset,
                absl::MakeSpan(reinterpret_cast<uint8_t*>(name.data()), size)));
  if (length < size) {
    return MakeError(EINVAL, absl::StrCat(file.path(), ": ", field,
                                          ": the file ends inside the name at ",
                                          offset, "; the image is damaged"));
  }
  if (name.find('\0') != std::string::npos) {
    return MakeError(
        EINVAL, absl::StrCat(file.path(), ": ", field, ": the name at ", offset,
                             " holds a NUL byte; the image is damaged"));
  }
  return name;
}

std::string ResolveLinkName(absl::string_view image_path,
                            absl::string_view name) {
  if (absl::StartsWith(name, "/")) return std::string(name);
  const size_t slash = image_path.rfind('/');
  if (slash == absl::string_view::npos) return std::string(name);
  return absl::StrCat(image_path.substr(0, slash + 1), name);
}

}  // namespace flatcow
