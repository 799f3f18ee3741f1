// SPDX-License-Identifier: Apache-2.0
#include "open_handles.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>

namespace flatcow::daemon {
namespace {

TEST(OpenHandlesTest, LiveUntilTheyAreDroppedOrTheTableEnds) {
  std::optional<OpenHandles<std::shared_ptr<int>>> table(std::in_place);
  const auto open = [&](const std::shared_ptr<int>& value) {
    return table->Keep(std::make_unique<std::shared_ptr<int>>(value));
  };
  const auto dropped = std::make_shared<int>(1);
  const auto left = std::make_shared<int>(2);
  auto* const first = open(dropped);
  auto* const second = open(left);
  EXPECT_EQ(**first, 1);
  EXPECT_EQ(**second, 2);
  table->Drop(first);
  EXPECT_EQ(dropped.use_count(), 1);
  EXPECT_EQ(left.use_count(), 2);
  table.reset();
  EXPECT_EQ(left.use_count(), 1);
}

}  // namespace
}  // namespace flatcow::daemon
