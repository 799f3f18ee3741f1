// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_SUPPORT_TEMPORARY_DIRECTORY_H_
#define FLATCOW_TEST_SUPPORT_TEMPORARY_DIRECTORY_H_

#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>

namespace flatcow {

// An empty directory under $TMPDIR or /tmp, removed with all that is in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name =
        std::filesystem::canonical(std::filesystem::temp_directory_path()) /
        "flatcow-test-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) {
      std::perror(name.c_str());
      std::abort();
    }
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  // Absolute, links resolved.
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_SUPPORT_TEMPORARY_DIRECTORY_H_
