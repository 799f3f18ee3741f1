// SPDX-License-Identifier: Apache-2.0
#include "help.h"

#include <set>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "run_tool.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class HelpTest : public ToolTest {};

TEST_F(HelpTest, TheToolsHelpListsEveryVerb) {
  for (const char* option : {"-h", "--help"}) {
    const RunResult result = Done(option);
    for (const Command* command : Commands()) {
      EXPECT_THAT(result.out, HasSubstr(absl::StrCat("\n  ", command->name)));
    }
    EXPECT_THAT(result.out, HasSubstr("-V, --version"));
  }
}

TEST_F(HelpTest, AVerbsHelpListsItsOptions) {
  for (const Command* command : Commands()) {
    const RunResult result = Done(absl::StrCat(command->name, " --help"));
    EXPECT_THAT(result.out,
                StartsWith(absl::StrCat("usage: flatcow-img ", command->name)));
    for (const OptionSpec& option : command->options) {
      EXPECT_THAT(result.out, HasSubstr(absl::StrCat("--", option.name)));
    }
    EXPECT_EQ(Done(absl::StrCat(command->name, " -h")).out, result.out);
  }
}

TEST_F(HelpTest, HelpWinsOverMissingOperands) {
  EXPECT_THAT(Done("map -U --help").out, StartsWith("usage:"));
}

TEST_F(HelpTest, LettersAndNamesOfAVerbAreUnique) {
  for (const Command* command : Commands()) {
    std::set<std::string> names = {"help"};
    std::set<char> letters = {'h'};
    for (const OptionSpec& option : command->options) {
      EXPECT_TRUE(names.insert(option.name).second) << option.name;
      if (option.letter == '\0') continue;
      EXPECT_TRUE(letters.insert(option.letter).second) << option.letter;
    }
  }
}

TEST_F(HelpTest, Version) {
  EXPECT_THAT(Done("--version").out, StartsWith("flatcow-img "));
  EXPECT_EQ(Done("-V").out, Done("--version").out);
}

TEST_F(HelpTest, MisuseIsOneLineThatNamesTheHelp) {
  EXPECT_EQ(Refused(""),
            "flatcow-img: no verb was given; try 'flatcow-img --help'\n");
  EXPECT_EQ(Refused("foo"),
            "flatcow-img: unknown verb 'foo'; try 'flatcow-img --help'\n");
  EXPECT_EQ(Refused("--bad"),
            "flatcow-img: unrecognized option '--bad'; try 'flatcow-img "
            "--help'\n");
  for (const Command* command : Commands()) {
    EXPECT_EQ(
        Refused(absl::StrCat(command->name, " --bad"), command->error_code),
        absl::StrCat("flatcow-img: ", command->name,
                     ": unrecognized option '--bad'; try 'flatcow-img ",
                     command->name, " --help'\n"));
    EXPECT_EQ(Refused(std::string(command->name), command->error_code),
              absl::StrCat("flatcow-img: ", command->name,
                           ": no image file was named; try 'flatcow-img ",
                           command->name, " --help'\n"));
  }
}

TEST_F(HelpTest, TooManyOperandsAreRefused) {
  EXPECT_THAT(Refused("info a b"), HasSubstr("'b'"));
  EXPECT_THAT(Refused("check a b"), HasSubstr("'b'"));
  EXPECT_THAT(Refused("map a b"), HasSubstr("'b'"));
  EXPECT_THAT(Refused("create a 1M 2M"), HasSubstr("'2M'"));
  EXPECT_THAT(Refused("convert a b c"), HasSubstr("'c'"));
  EXPECT_THAT(Refused("compare a b c", 2), HasSubstr("'c'"));
  EXPECT_THAT(Refused("resize a 1M 2M"), HasSubstr("'2M'"));
  for (const char* verb : {"commit", "flatten", "rebase -b x", "measure",
                           "amend -f qed -o backing_fmt=raw"}) {
    EXPECT_THAT(Refused(absl::StrCat(verb, " a b")), HasSubstr("'b'"));
  }
}

TEST_F(HelpTest, AMissingOperandIsNamed) {
  EXPECT_THAT(Refused("convert a"), HasSubstr(": OUT is missing; try"));
  EXPECT_THAT(Refused("compare a", 2), HasSubstr(": FILE2 is missing; try"));
  EXPECT_THAT(Refused("resize a"), HasSubstr(": SIZE is missing; try"));
}

TEST_F(HelpTest, TheVerbsSummariesAreAligned) {
  size_t column = 0;
  const std::string help = Done("--help").out;
  for (const Command* command : Commands()) {
    const size_t line = help.find(absl::StrCat("\n  ", command->name, " "));
    const size_t summary = help.find(std::string(command->summary), line);
    ASSERT_NE(summary, std::string::npos) << command->name;
    if (column == 0) column = summary - line;
    EXPECT_EQ(summary - line, column) << command->name;
  }
}

TEST_F(HelpTest, OutputMustBeHumanOrJson) {
  for (const char* verb : {"info", "check", "map", "measure"}) {
    EXPECT_THAT(Refused(absl::StrCat(verb, " --output=xml disk")),
                HasSubstr("--output must be human or json, not 'xml'"));
  }
}

TEST_F(HelpTest, OutputThatCannotBeWrittenIsAnError) {
  std::ostringstream out;
  std::ostringstream err;
  out.setstate(std::ios::badbit);
  EXPECT_EQ(RunTool({"--version"}, {out, err}), 1);
  EXPECT_EQ(err.str(), "flatcow-img: the output could not be written\n");
}

}  // namespace
}  // namespace flatcow::tool
