// SPDX-License-Identifier: Apache-2.0
#include "view_attributes.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "flatcow/printable.h"

namespace flatcow::daemon {

ViewAttributes AttributesOf(const ViewFacts& view) {
  ViewAttributes attributes;
  const auto add = [&attributes](absl::string_view name, std::string value) {
    attributes.emplace_back(absl::StrCat(kAttributePrefix, name),
                            std::move(value));
  };
  const auto add_flag = [&add](absl::string_view name, bool flag) {
    add(name, flag ? "1" : "0");
  };
  const ImageFacts& facts = *view.facts;
  add("image", view.image);
  if (facts.error != 0) return attributes;
  add("format", facts.format);
  add("virtual_size", absl::StrCat(view.virtual_size));
  add("cluster_size", absl::StrCat(facts.cluster_size));
  if (view.allocated_clusters.has_value()) {
    attributes.emplace_back(kAllocatedClusters,
                            absl::StrCat(*view.allocated_clusters));
  }
  add_flag("all_allocated", facts.all_allocated);
  add_flag("dirty_metadata", view.dirty_metadata);
  add_flag("passthrough", view.passthrough);
  if (!view.backing.empty()) {
    // One per line, so none may have a line break in it.
    add("backing",
        absl::StrJoin(view.backing, "\n",
                      [](std::string* text, const std::string& path) {
                        text->append(Printable(path));
                      }));
  }
  if (view.ephemeral) {
    add_flag("ephemeral", true);
  } else if (!facts.read_only.empty()) {
    add("read_only", facts.read_only);
  }
  return attributes;
}

}  // namespace flatcow::daemon
