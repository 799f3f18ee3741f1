// SPDX-License-Identifier: Apache-2.0
#include "fuzz/fuzz_target.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace flatcow {

void FuzzFinding(absl::string_view what) {
  std::fprintf(stderr, "FINDING: %s\n", std::string(what).c_str());
  std::abort();
}

void RequireClear(const absl::Status& status) {
  if (status.ok()) return;
  bool has_errno = false;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord&) {
    has_errno = has_errno || url == "flatcow/errno";
  });
  if (!has_errno) {
    FuzzFinding(absl::StrCat("an error without errno: ", status.ToString()));
  }
  if (status.message().empty() || status.message().front() != '/') {
    FuzzFinding(
        absl::StrCat("an error that names no file: ", status.ToString()));
  }
}

}  // namespace flatcow
