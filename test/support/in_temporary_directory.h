// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_SUPPORT_IN_TEMPORARY_DIRECTORY_H_
#define FLATCOW_TEST_SUPPORT_IN_TEMPORARY_DIRECTORY_H_

#include <filesystem>

#include "support/temporary_directory.h"

namespace flatcow {

// As long as it lives, the working directory is an empty one.
class InTemporaryDirectory {
 public:
  InTemporaryDirectory() : previous_(std::filesystem::current_path()) {
    std::filesystem::current_path(directory_.path());
  }
  ~InTemporaryDirectory() { std::filesystem::current_path(previous_); }
  InTemporaryDirectory(const InTemporaryDirectory&) = delete;
  InTemporaryDirectory& operator=(const InTemporaryDirectory&) = delete;

 private:
  const TemporaryDirectory directory_;
  const std::filesystem::path previous_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_SUPPORT_IN_TEMPORARY_DIRECTORY_H_
