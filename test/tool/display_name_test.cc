// SPDX-License-Identifier: Apache-2.0
#include "display_name.h"

#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::ElementsAre;

class DisplayNameTest : public ToolTest {
 protected:
  void SetUp() override {
    ToolTest::SetUp();
    here_ = std::filesystem::current_path().string();
    std::filesystem::create_directory("sub");
  }

  std::string here_;
};

TEST_F(DisplayNameTest, IsBehindTheDirectoryThatWasTyped) {
  EXPECT_EQ(DisplayName("a", {"b", here_ + "/b", ""}), "b");
  EXPECT_EQ(DisplayName("./a", {"b", here_ + "/b", ""}), "./b");
  EXPECT_EQ(DisplayName("sub/a", {"../b", here_ + "/sub/../b", ""}),
            "sub/../b");
  EXPECT_EQ(DisplayName(here_ + "/a", {"b", here_ + "/b", ""}), here_ + "/b");
}

TEST_F(DisplayNameTest, AbsoluteNamesStay) {
  EXPECT_EQ(DisplayName("sub/a", {"/b", "/b", ""}), "/b");
}

TEST_F(DisplayNameTest, ALinkIntoAnotherDirectoryIsNotHidden) {
  std::filesystem::create_symlink("sub/a", "link");
  EXPECT_EQ(DisplayName("link", {"b", here_ + "/sub/b", ""}), here_ + "/sub/b");
}

TEST_F(DisplayNameTest, GoesDownAChain) {
  std::vector<ImageInfo> chain(3);
  chain[0].backing = ImageLink{"sub/b", here_ + "/sub/b", ""};
  chain[1].backing = ImageLink{"../c", here_ + "/sub/../c", ""};
  EXPECT_THAT(DisplayNames("./a", chain),
              ElementsAre("./a", "./sub/b", "./sub/../c"));
}

}  // namespace
}  // namespace flatcow::tool
