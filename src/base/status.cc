// SPDX-License-Identifier: Apache-2.0
#include "flatcow/status.h"

#include <cerrno>
#include <optional>
#include <string>
#include <system_error>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace flatcow {
namespace {

constexpr char kErrnoUrl[] = "flatcow/errno";

absl::StatusCode CodeOf(int error_number) {
  switch (error_number) {
    case ENOENT:
      return absl::StatusCode::kNotFound;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case EINVAL:
    case ELOOP:
      return absl::StatusCode::kInvalidArgument;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return absl::StatusCode::kResourceExhausted;
    case EFBIG:
      return absl::StatusCode::kOutOfRange;
    case ENOTSUP:
      return absl::StatusCode::kUnimplemented;
    case EBUSY:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kUnknown;
  }
}

}  // namespace

absl::Status MakeError(int error_number, absl::string_view message) {
  absl::Status status(CodeOf(error_number), message);
  status.SetPayload(kErrnoUrl, absl::Cord(absl::StrCat(error_number)));
  return status;
}

absl::Status ErrnoError(int error_number, absl::string_view message) {
  return MakeError(error_number,
                   absl::StrCat(message, ": ",
                                std::generic_category().message(error_number)));
}

absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  return MakeError(ErrnoOf(status),
                   absl::StrCat(context, ": ", status.message()));
}

int ErrnoOf(const absl::Status& status) {
  if (status.ok()) return 0;
  const auto payload = status.GetPayload(kErrnoUrl);
  int error_number = 0;
  if (payload.has_value() &&
      absl::SimpleAtoi(std::string(*payload), &error_number)) {
    return error_number;
  }
  return EIO;
}

}  // namespace flatcow
