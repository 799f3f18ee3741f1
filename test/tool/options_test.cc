// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flatcow::tool {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;

constexpr OptionSpec kSpecs[] = {
    {'q', "quiet", nullptr, "say less"},
    {'f', "format", "FMT", "the format"},
    {'\0', "backing-chain", nullptr, "all of it"},
    {'\0', "backing-file", "NAME", "one of it"},
};

ParsedArguments Parse(const std::vector<std::string>& args,
                      OperandRule rule = OperandRule::kMixed) {
  auto parsed = ParseArguments(args, kSpecs, rule);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *parsed : ParsedArguments();
}

std::string Error(const std::vector<std::string>& args) {
  const auto parsed = ParseArguments(args, kSpecs);
  EXPECT_FALSE(parsed.ok());
  return std::string(parsed.status().message());
}

TEST(OptionsTest, NothingGivesNothing) {
  const ParsedArguments parsed = Parse({});
  EXPECT_FALSE(parsed.Has("quiet"));
  EXPECT_EQ(parsed.Value("format"), std::nullopt);
  EXPECT_THAT(parsed.operands(), IsEmpty());
}

TEST(OptionsTest, TakesAnArgumentInEveryForm) {
  const std::vector<std::vector<std::string>> forms = {{"-f", "qed"},
                                                       {"-fqed"},
                                                       {"--format", "qed"},
                                                       {"--format=qed"},
                                                       {"--for=qed"}};
  for (const auto& args : forms) {
    EXPECT_THAT(Parse(args).Value("format"), Optional(std::string("qed")))
        << args[0];
  }
}

TEST(OptionsTest, ShortOptionsCombine) {
  const ParsedArguments parsed = Parse({"-qf", "qed", "disk"});
  EXPECT_TRUE(parsed.Has("quiet"));
  EXPECT_THAT(parsed.Value("format"), Optional(std::string("qed")));
  EXPECT_THAT(parsed.operands(), ElementsAre("disk"));
  EXPECT_THAT(Parse({"-qfraw"}).Value("format"), Optional(std::string("raw")));
}

TEST(OptionsTest, OptionsMayFollowOperands) {
  const ParsedArguments parsed = Parse({"disk", "-q", "64M"});
  EXPECT_TRUE(parsed.Has("quiet"));
  EXPECT_THAT(parsed.operands(), ElementsAre("disk", "64M"));
}

TEST(OptionsTest, DoubleDashEndsOptions) {
  const ParsedArguments parsed = Parse({"-q", "--", "-f", "--"});
  EXPECT_FALSE(parsed.Has("format"));
  EXPECT_THAT(parsed.operands(), ElementsAre("-f", "--"));
}

TEST(OptionsTest, OneDashAndTheEmptyWordAreOperands) {
  EXPECT_THAT(Parse({"-", ""}).operands(), ElementsAre("-", ""));
}

TEST(OptionsTest, AnArgumentMayLookLikeAnOption) {
  EXPECT_THAT(Parse({"-f", "-q"}).Value("format"), Optional(std::string("-q")));
  EXPECT_THAT(Parse({"--format="}).Value("format"), Optional(std::string()));
}

TEST(OptionsTest, TheLastOneCountsAndAllAreKept) {
  const ParsedArguments parsed = Parse({"-f", "qed", "-f", "raw"});
  EXPECT_THAT(parsed.Value("format"), Optional(std::string("raw")));
  EXPECT_THAT(parsed.Values("format"), ElementsAre("qed", "raw"));
}

TEST(OptionsTest, TheFirstOperandCanEndTheOptions) {
  const ParsedArguments parsed =
      Parse({"-q", "info", "-x", "--y"}, OperandRule::kStop);
  EXPECT_TRUE(parsed.Has("quiet"));
  EXPECT_THAT(parsed.operands(), ElementsAre("info", "-x", "--y"));
}

TEST(OptionsTest, ANegativeNumberCanBeAnOperand) {
  EXPECT_THAT(Parse({"disk", "-q", "-1G"}, OperandRule::kNumbers).operands(),
              ElementsAre("disk", "-1G"));
  EXPECT_TRUE(Parse({"-1G", "-q"}, OperandRule::kNumbers).Has("quiet"));
  EXPECT_THAT(Parse({"-f", "-1"}, OperandRule::kNumbers).Value("format"),
              Optional(std::string("-1")));
  EXPECT_EQ(Error({"-1G"}), "unrecognized option '-1'");
}

TEST(OptionsTest, HelpIsInEveryTable) {
  EXPECT_TRUE(Parse({"-h"}).Has("help"));
  EXPECT_TRUE(Parse({"--help"}).Has("help"));
}

TEST(OptionsTest, ErrorsNameTheOption) {
  EXPECT_EQ(Error({"-x"}), "unrecognized option '-x'");
  EXPECT_EQ(Error({"-qx"}), "unrecognized option '-x'");
  EXPECT_EQ(Error({"--bad=1"}), "unrecognized option '--bad'");
  EXPECT_EQ(Error({"-f"}), "missing argument for option '-f'");
  EXPECT_EQ(Error({"--format"}), "missing argument for option '--format'");
  EXPECT_EQ(Error({"--quiet=1"}), "option '--quiet' takes no argument");
  EXPECT_THAT(Error({"--backing"}), HasSubstr("ambiguous"));
  EXPECT_EQ(Error({"--=1"}), "unrecognized option '--'");
}

}  // namespace
}  // namespace flatcow::tool
