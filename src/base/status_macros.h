// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_BASE_STATUS_MACROS_H_
#define FLATCOW_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define FLATCOW_CONCAT_INNER(a, b) a##b
#define FLATCOW_CONCAT(a, b) FLATCOW_CONCAT_INNER(a, b)

// Returns from the enclosing function unless `expression` is OK.
#define RETURN_IF_ERROR(expression)                                         \
  do {                                                                      \
    if (absl::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

// ASSIGN_OR_RETURN(auto file, Open(path)): the value, or return its error.
#define ASSIGN_OR_RETURN(lhs, expression) \
  ASSIGN_OR_RETURN_IMPL(FLATCOW_CONCAT(status_or_, __LINE__), lhs, expression)

#define ASSIGN_OR_RETURN_IMPL(result, lhs, expression) \
  auto result = (expression);                          \
  if (!result.ok()) return result.status();            \
  lhs = *std::move(result)

#endif  // FLATCOW_BASE_STATUS_MACROS_H_
