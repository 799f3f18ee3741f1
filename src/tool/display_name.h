// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TOOL_DISPLAY_NAME_H_
#define FLATCOW_TOOL_DISPLAY_NAME_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "flatcow/image.h"

namespace flatcow::tool {

// The name to show for a file that an image records, as qemu-img forms it: the
// recorded name behind the directory part of `image_name`, which is how the
// user named the image. link.path where that would not lead there, because
// `image_name` is a symbolic link into another directory.
std::string DisplayName(absl::string_view image_name, const ImageLink& link);

// The names to show for the images of a chain; `first_name` is what the user
// typed.
std::vector<std::string> DisplayNames(absl::string_view first_name,
                                      absl::Span<const ImageInfo> chain);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_DISPLAY_NAME_H_
