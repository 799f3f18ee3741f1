// SPDX-License-Identifier: Apache-2.0
#include "exit_code.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace flatcow::tool {
namespace {

constexpr char kPayload[] = "flatcow-img/exit-code";

}  // namespace

absl::Status WithExitCode(absl::Status status, int code) {
  status.SetPayload(kPayload, absl::Cord(absl::StrCat(code)));
  return status;
}

int ExitCodeOf(const absl::Status& status, int otherwise) {
  const auto payload = status.GetPayload(kPayload);
  int code = otherwise;
  if (payload.has_value() && !absl::SimpleAtoi(std::string(*payload), &code)) {
    return otherwise;
  }
  return code;
}

}  // namespace flatcow::tool
