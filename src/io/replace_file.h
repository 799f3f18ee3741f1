// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_IO_REPLACE_FILE_H_
#define FLATCOW_IO_REPLACE_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace flatcow {

// FileSystem::Replace() for two entries of `directory`, which may be an O_PATH
// descriptor. `path` is what messages call `to`.
absl::Status ReplaceFile(int directory, const std::string& from,
                         const std::string& to, absl::string_view path);

}  // namespace flatcow

#endif  // FLATCOW_IO_REPLACE_FILE_H_
