// SPDX-License-Identifier: Apache-2.0
#include "user_mount.h"

#include <gtest/gtest.h>

namespace flatcow::daemon {
namespace {

TEST(UserMountTest, OnlyALineOfItsOwnPermitsAllowOther) {
  EXPECT_TRUE(PermitsAllowOther("user_allow_other"));
  EXPECT_TRUE(PermitsAllowOther("mount_max = 9\n \tuser_allow_other # yes\n"));
  EXPECT_FALSE(PermitsAllowOther(""));
  EXPECT_FALSE(PermitsAllowOther("#user_allow_other\n"));
  EXPECT_FALSE(PermitsAllowOther("user_allow_others\nno user_allow_other\n"));
}

}  // namespace
}  // namespace flatcow::daemon
