// SPDX-License-Identifier: Apache-2.0
#include "amend_keys.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flatcow::tool {
namespace {

using testing::HasSubstr;
using testing::Optional;

AmendOptions Store(const std::string& format, const std::string& list) {
  AmendOptions options;
  const auto keys = AmendKeys(format);
  EXPECT_TRUE(keys.ok()) << keys.status();
  const absl::Status status = StoreKeyList(list, format, *keys, options);
  EXPECT_TRUE(status.ok()) << status;
  return options;
}

std::string Error(const std::string& format, const std::string& list) {
  AmendOptions options;
  const absl::Status status =
      StoreKeyList(list, format, *AmendKeys(format), options);
  EXPECT_FALSE(status.ok()) << list;
  return std::string(status.message());
}

TEST(AmendKeysTest, WhatIsNotNamedStays) {
  const AmendOptions options = Store("add-cow", "image_file=a");
  EXPECT_THAT(options.data_file, Optional(std::string("a")));
  EXPECT_EQ(options.data_format, std::nullopt);
  EXPECT_EQ(options.backing_file, std::nullopt);
  EXPECT_EQ(options.backing_format, std::nullopt);
}

TEST(AmendKeysTest, AnEmptyValueIsNone) {
  const AmendOptions options =
      Store("add-cow", "backing_file=,backing_fmt=,image_fmt=raw");
  EXPECT_THAT(options.backing_file, Optional(std::string()));
  EXPECT_THAT(options.backing_format, Optional(std::string()));
  EXPECT_THAT(options.data_format, Optional(std::string("raw")));
}

TEST(AmendKeysTest, QedHasNoImageFile) {
  EXPECT_THAT(Store("qed", "backing_file=a,,b").backing_file,
              Optional(std::string("a,b")));
  EXPECT_EQ(Error("qed", "image_file=a"),
            "unknown option 'image_file': format qed has backing_file, "
            "backing_fmt");
  EXPECT_THAT(Error("qed", "compat=final"), HasSubstr("unknown option"));
}

TEST(AmendKeysTest, Qcow2HasADataFile) {
  const AmendOptions options =
      Store("qcow2", "data_file=d,backing_file=b,backing_fmt=qed");
  EXPECT_THAT(options.data_file, Optional(std::string("d")));
  EXPECT_THAT(options.backing_file, Optional(std::string("b")));
  EXPECT_THAT(options.backing_format, Optional(std::string("qed")));
  EXPECT_EQ(options.data_format, std::nullopt);
}

TEST(AmendKeysTest, TheOnlyLayoutIsTheFinalOne) {
  EXPECT_EQ(Store("add-cow", "compat=final").compat, "final");
  EXPECT_EQ(Error("add-cow", "compat=v1"),
            "option compat: there is no layout 'v1': the only one is final");
}

TEST(AmendKeysTest, RawRecordsNothing) {
  EXPECT_THAT(AmendKeys("raw").status().message(),
              HasSubstr("expected add-cow, qcow2 or qed"));
}

}  // namespace
}  // namespace flatcow::tool
