// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_LINK_NAME_H_
#define FLATCOW_FORMAT_LINK_NAME_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "flatcow/file.h"

namespace flatcow {

// Reads the name of another file that `file` records at `offset`, `field` being
// what to call it. Errors: EINVAL when the file ends inside it or it holds a
// NUL.
absl::StatusOr<std::string> ReadLinkName(const File& file,
                                         absl::string_view field,
                                         uint64_t offset, uint32_t size);

// Where `name`, recorded in the image `image_path`, is: names that are not
// absolute are relative to the image's directory.
std::string ResolveLinkName(absl::string_view image_path,
                            absl::string_view name);

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_LINK_NAME_H_
