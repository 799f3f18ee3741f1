// SPDX-License-Identifier: Apache-2.0
#include "create_keys.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flatcow::tool {
namespace {

using testing::HasSubstr;

CreateOptions Store(const std::string& format, const std::string& list) {
  CreateOptions options;
  options.format = format;
  const absl::Status status = StoreKeys(list, options);
  EXPECT_TRUE(status.ok()) << status;
  return options;
}

std::string Error(const std::string& format, const std::string& list) {
  CreateOptions options;
  options.format = format;
  const absl::Status status = StoreKeys(list, options);
  EXPECT_FALSE(status.ok()) << list;
  return std::string(status.message());
}

TEST(CreateKeysTest, QedKeys) {
  const CreateOptions options = Store(
      "qed", "backing_file=a,backing_fmt=raw,cluster_size=4k,table_size=2");
  EXPECT_EQ(options.backing_file, "a");
  EXPECT_EQ(options.backing_format, "raw");
  EXPECT_EQ(options.cluster_size, 4096u);
  EXPECT_EQ(options.table_size, 2u);
}

TEST(CreateKeysTest, AddCowKeys) {
  const CreateOptions options =
      Store("add-cow",
            "image_file=i,image_fmt=raw,backing_file=b,backing_fmt=qed,"
            "cluster_size=1M");
  EXPECT_EQ(options.data_file, "i");
  EXPECT_EQ(options.data_format, "raw");
  EXPECT_EQ(options.backing_file, "b");
  EXPECT_EQ(options.backing_format, "qed");
  EXPECT_EQ(options.cluster_size, 1048576u);
}

TEST(CreateKeysTest, Qcow2Keys) {
  const CreateOptions options =
      Store("qcow2",
            "data_file=d,data_file_raw=on,backing_file=b,backing_fmt=qed,"
            "cluster_size=4k,refcount_bits=8");
  EXPECT_EQ(options.data_file, "d");
  EXPECT_TRUE(options.data_file_raw);
  EXPECT_EQ(options.backing_file, "b");
  EXPECT_EQ(options.backing_format, "qed");
  EXPECT_EQ(options.cluster_size, 4096u);
  EXPECT_EQ(options.refcount_bits, 8u);
  EXPECT_FALSE(
      Store("qcow2", "data_file_raw=on,data_file_raw=off").data_file_raw);
}

TEST(CreateKeysTest, ADoubleCommaIsAComma) {
  EXPECT_EQ(Store("qed", "backing_file=a,,b,cluster_size=4k").backing_file,
            "a,b");
  EXPECT_EQ(Store("qed", "backing_file=a,,").backing_file, "a,");
  EXPECT_EQ(Store("qed", "backing_file=,,,,").backing_file, ",,");
  EXPECT_EQ(EscapeCommas("a,b,,"), "a,,b,,,,");
}

TEST(CreateKeysTest, AValueMayHoldAnEqualsSign) {
  EXPECT_EQ(Store("qed", "backing_file=a=b").backing_file, "a=b");
}

TEST(CreateKeysTest, TheLastOneCounts) {
  EXPECT_EQ(Store("qed", "cluster_size=4k,cluster_size=8k").cluster_size,
            8192u);
}

TEST(CreateKeysTest, AnUnknownKeyListsTheKeys) {
  EXPECT_EQ(Error("qed", "foo=1"),
            "unknown option 'foo': format qed has backing_file, backing_fmt, "
            "cluster_size, table_size");
  EXPECT_THAT(Error("add-cow", "table_size=4"), HasSubstr("image_file"));
  EXPECT_EQ(Error("raw", "foo"), "unknown option 'foo': format raw has none");
}

TEST(CreateKeysTest, AnEmptyItemIsRefused) {
  for (const char* list : {"", ",", "cluster_size=4k,", ",cluster_size=4k"}) {
    EXPECT_THAT(Error("qed", list), HasSubstr("empty item")) << list;
  }
}

TEST(CreateKeysTest, BadValuesAreRefused) {
  EXPECT_THAT(Error("qed", "cluster_size=12q"), HasSubstr("cluster_size"));
  EXPECT_THAT(Error("qed", "cluster_size"), HasSubstr("not a size"));
  EXPECT_THAT(Error("qed", "cluster_size=0"), HasSubstr("between 1 and"));
  EXPECT_THAT(Error("qed", "cluster_size=4G"), HasSubstr("between 1 and"));
  EXPECT_THAT(Error("qed", "backing_file="), HasSubstr("needs a value"));
  EXPECT_EQ(Error("qcow2", "data_file_raw=yes"),
            "option data_file_raw: expects 'on' or 'off', not 'yes'");
  for (const char* list : {"refcount_bits=8k", "refcount_bits=0"}) {
    EXPECT_THAT(Error("qcow2", list), HasSubstr("expects a number")) << list;
  }
}

TEST(CreateKeysTest, OnlySomeFormatsCanBeCreated) {
  EXPECT_THAT(CreateKeys("vmdk").status().message(),
              HasSubstr("add-cow, qcow2, qed or raw"));
}

}  // namespace
}  // namespace flatcow::tool
