// SPDX-License-Identifier: Apache-2.0
//
// The extended attributes of a view, getxattr(2): what its image says about
// itself.
#ifndef FLATCOW_FUSE_VIEW_ATTRIBUTES_H_
#define FLATCOW_FUSE_VIEW_ATTRIBUTES_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "image_facts.h"

namespace flatcow::daemon {

// All names begin with it.
inline constexpr absl::string_view kAttributePrefix = "user.flatcow.";

// Names and values; text without an end.
using ViewAttributes = std::vector<std::pair<std::string, std::string>>;

// `image` is the path of the image on the host, `backing` those of the files
// below it. Of an image that can't be used there is just `image`.
ViewAttributes AttributesOf(const ImageFacts& facts, const std::string& image,
                            const std::vector<std::string>& backing,
                            uint64_t virtual_size);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_VIEW_ATTRIBUTES_H_
