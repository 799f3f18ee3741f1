// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_IMAGE_IMAGE_INFO_H_
#define FLATCOW_IMAGE_IMAGE_INFO_H_

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "flatcow/image.h"
#include "flatcow/status.h"
#include "format/format_driver.h"
#include "format/registry.h"

namespace flatcow {

// What the header says; sizes that other files decide are left out.
ImageInfo MakeImageInfo(const File& file, const FormatDriver& driver,
                        const FormatHeader& header);

// What people call the file that has the clusters of an image.
inline absl::string_view DataFileRole(const FormatDriver& driver) {
  return &driver == &kAddCowFormat ? "image file" : "data file";
}

// An error of the file that `image` names by `link`.
inline absl::Status AnnotateLink(const absl::Status& status, const File& image,
                                 absl::string_view role,
                                 const ImageLink& link) {
  return Annotate(status,
                  absl::StrCat(image.path(), ": ", role, " '", link.name, "'"));
}

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_IMAGE_INFO_H_
