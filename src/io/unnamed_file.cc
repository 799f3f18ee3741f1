// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/file.h"
#include "flatcow/status.h"

namespace flatcow {

// For file systems that make names only: there is one for a moment. It begins
// with a dot, so that who lists the directory then is seldom shown it.
absl::StatusOr<std::unique_ptr<File>> FileSystem::CreateUnnamed(
    const std::string& directory) {
  static std::atomic<uint64_t> count{0};
  while (true) {
    const std::string path = absl::StrCat(directory, "/.flatcow-", getpid(),
                                          "-", count.fetch_add(1));
    auto file = Create(path);
    if (ErrnoOf(file.status()) == EEXIST) continue;
    if (!file.ok()) return file;
    RETURN_IF_ERROR(Remove(path));
    return file;
  }
}

}  // namespace flatcow
