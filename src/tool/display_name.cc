// SPDX-License-Identifier: Apache-2.0
#include "display_name.h"

#include <cstddef>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace flatcow::tool {

std::string DisplayName(absl::string_view image_name, const ImageLink& link) {
  if (absl::StartsWith(link.name, "/")) return link.name;
  const size_t slash = image_name.rfind('/');
  const absl::string_view directory = slash == absl::string_view::npos
                                          ? absl::string_view()
                                          : image_name.substr(0, slash + 1);
  std::error_code error;
  const std::filesystem::path resolved = std::filesystem::canonical(
      directory.empty() ? "." : std::string(directory), error);
  if (error || resolved / link.name != link.path) return link.path;
  return absl::StrCat(directory, link.name);
}

std::vector<std::string> DisplayNames(absl::string_view first_name,
                                      absl::Span<const ImageInfo> chain) {
  std::vector<std::string> names;
  std::string name(first_name);
  for (const ImageInfo& info : chain) {
    names.push_back(name);
    if (info.backing.has_value()) name = DisplayName(name, *info.backing);
  }
  return names;
}

}  // namespace flatcow::tool
