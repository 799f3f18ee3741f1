// SPDX-License-Identifier: Apache-2.0
#include "view_attributes.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "flatcow/printable.h"

namespace flatcow::daemon {

ViewAttributes AttributesOf(const ImageFacts& facts, const std::string& image,
                            const std::vector<std::string>& backing,
                            uint64_t virtual_size) {
  ViewAttributes attributes;
  const auto add = [&attributes](absl::string_view name, std::string value) {
    attributes.emplace_back(absl::StrCat(kAttributePrefix, name),
                            std::move(value));
  };
  add("image", image);
  if (facts.error != 0) return attributes;
  add("format", facts.format);
  add("virtual_size", absl::StrCat(virtual_size));
  add("cluster_size", absl::StrCat(facts.cluster_size));
  add("all_allocated", facts.all_allocated ? "1" : "0");
  if (!backing.empty()) {
    // One per line, so none may have a line break in it.
    add("backing",
        absl::StrJoin(backing, "\n",
                      [](std::string* text, const std::string& path) {
                        text->append(Printable(path));
                      }));
  }
  if (!facts.read_only.empty()) add("read_only", facts.read_only);
  return attributes;
}

}  // namespace flatcow::daemon
