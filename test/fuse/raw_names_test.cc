// SPDX-License-Identifier: Apache-2.0
#include "raw_names.h"

#include <gtest/gtest.h>

namespace flatcow::daemon {
namespace {

TEST(RawNamesTest, NothingMatchesWithoutAGlob) {
  EXPECT_FALSE(RawNames().Matches("a"));
  EXPECT_FALSE(RawNames({}, true).Matches("a"));
  EXPECT_TRUE(RawNames({}, true).others_too());
}

TEST(RawNamesTest, AGlobWithoutASlashIsForTheNameInAnyFolder) {
  const RawNames names({"*.img", "disk?"});
  for (const char* path : {"a.img", ".img/a.img", "a/b/c.img", "a/disk1"}) {
    EXPECT_TRUE(names.Matches(path)) << path;
  }
  for (const char* path : {"a.imgs", "a.img/b", "disk", "disk10", ".img"}) {
    EXPECT_FALSE(names.Matches(path)) << path;
  }
}

TEST(RawNamesTest, AGlobWithASlashIsForTheWholePath) {
  const RawNames names({"a/*.img"});
  EXPECT_TRUE(names.Matches("a/b.img"));
  EXPECT_FALSE(names.Matches("b.img"));
  EXPECT_FALSE(names.Matches("c/a/b.img"));
  EXPECT_FALSE(names.Matches("a/b/c.img"));
}

TEST(RawNamesTest, ALeadingDotIsMatchedByADotOnly) {
  EXPECT_FALSE(RawNames({"*"}).Matches(".a"));
  EXPECT_FALSE(RawNames({"*/*"}).Matches("a/.b"));
  EXPECT_FALSE(RawNames({"[.]a"}).Matches(".a"));
  EXPECT_TRUE(RawNames({".*"}).Matches("a/.b"));
}

TEST(RawNamesTest, BytesThatMeanSomethingCanBeQuoted) {
  EXPECT_TRUE(RawNames({"\\*"}).Matches("*"));
  EXPECT_FALSE(RawNames({"\\*"}).Matches("a"));
  EXPECT_TRUE(RawNames({"[a-c]"}).Matches("b"));
}

}  // namespace
}  // namespace flatcow::daemon
