// SPDX-License-Identifier: Apache-2.0
#include "exit_code.h"

#include "gtest/gtest.h"

namespace flatcow::tool {
namespace {

TEST(ExitCodeTest, AnErrorWithoutACodeHasTheOther) {
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("x"), 1), 1);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("x"), 2), 2);
}

TEST(ExitCodeTest, TheCodeStaysWithTheError) {
  const absl::Status status = WithExitCode(absl::NotFoundError("x"), 130);
  EXPECT_EQ(ExitCodeOf(status, 1), 130);
  EXPECT_EQ(status.message(), "x");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace flatcow::tool
