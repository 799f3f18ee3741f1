// SPDX-License-Identifier: Apache-2.0
//
// What the shells complete. Looks at the files that were built, in the folder
// that FLATCOW_COMPLETION_DIR names.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using testing::UnorderedElementsAre;

std::string Script(const std::string& name) {
  const char* folder = std::getenv("FLATCOW_COMPLETION_DIR");
  return absl::StrCat(folder == nullptr ? "" : folder, "/", name);
}

class CompletionTest : public ToolTest {
 protected:
  void SetUp() override {
    if (std::getenv("FLATCOW_COMPLETION_DIR") == nullptr) {
      GTEST_SKIP() << "FLATCOW_COMPLETION_DIR is not set";
    }
    ToolTest::SetUp();
  }
};

class BashCompletionTest : public CompletionTest {
 protected:
  void SetUp() override {
    CompletionTest::SetUp();
    if (IsSkipped()) return;
    if (RunProgram("bash", {"--version"}).code != 0) {
      GTEST_SKIP() << "bash is not installed";
    }
  }

  // What bash completes the last of these words to, sorted.
  static std::vector<std::string> Completed(
      const std::vector<std::string>& words) {
    std::string script = absl::StrCat("source ", Script("flatcow-img"),
                                      "; COMP_WORDS=(flatcow-img");
    for (const std::string& word : words) {
      absl::StrAppend(&script, " '", word, "'");
    }
    absl::StrAppend(&script, "); COMP_CWORD=", words.size(),
                    "; _flatcow_img; printf '%s\\n' \"${COMPREPLY[@]}\"");
    const RunResult result =
        RunProgram("bash", {"--noprofile", "--norc", "-c", script});
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    std::vector<std::string> lines =
        absl::StrSplit(result.out, '\n', absl::SkipEmpty());
    std::sort(lines.begin(), lines.end());
    return lines;
  }
};

TEST_F(BashCompletionTest, EveryVerb) {
  std::vector<std::string> verbs;
  for (const Command* command : Commands()) {
    verbs.push_back(std::string(command->name));
  }
  EXPECT_THAT(Completed({""}), IsSupersetOf(verbs));
  EXPECT_THAT(Completed({"co"}),
              UnorderedElementsAre("convert", "compare", "commit"));
  EXPECT_THAT(Completed({"--v"}), ElementsAre("--version"));
}

TEST_F(BashCompletionTest, EveryOptionOfAVerb) {
  for (const Command* command : Commands()) {
    const std::vector<std::string> completed =
        Completed({std::string(command->name), "-"});
    EXPECT_THAT(completed, Contains("--help"));
    for (const OptionSpec& option : command->options) {
      EXPECT_THAT(completed, Contains(absl::StrCat("--", option.name)))
          << command->name;
    }
  }
  EXPECT_THAT(Completed({"create", "x", "--fo"}),
              UnorderedElementsAre("--force", "--format"));
  EXPECT_THAT(Completed({"check", "--c"}), IsEmpty());
}

TEST_F(BashCompletionTest, ArgumentsOfOptions) {
  const auto formats = UnorderedElementsAre("add-cow", "qcow2", "qed", "raw");
  EXPECT_THAT(Completed({"convert", "-O", ""}), formats);
  EXPECT_THAT(Completed({"convert", "--output-format", "="}), formats);
  EXPECT_THAT(Completed({"create", "-f", "qe"}), ElementsAre("qed"));
  EXPECT_THAT(Completed({"info", "--output", "=", "j"}), ElementsAre("json"));
  EXPECT_THAT(Completed({"check", "-r", ""}),
              UnorderedElementsAre("leaks", "all"));
}

TEST_F(BashCompletionTest, FilesWhereFilesStand) {
  MakeRaw("disk one.raw", 0, 0);
  MakeRaw("disk.qed", 0, 0);
  const auto files = UnorderedElementsAre("disk one.raw", "disk.qed");
  EXPECT_THAT(Completed({"info", "di"}), files);
  EXPECT_THAT(Completed({"create", "-q", "-f", "qed", "-b", ""}), files);
  EXPECT_THAT(Completed({"measure", "--size", ""}), IsEmpty());
}

TEST_F(CompletionTest, ZshCanReadIts) {
  if (RunProgram("zsh", {"--version"}).code != 0) {
    GTEST_SKIP() << "zsh is not installed";
  }
  const RunResult result = RunProgram("zsh", {"-n", Script("_flatcow-img")});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
}

TEST_F(CompletionTest, ZshHasEveryOption) {
  std::ifstream file(Script("_flatcow-img"));
  std::ostringstream text;
  text << file.rdbuf();
  for (const Command* command : Commands()) {
    EXPECT_THAT(text.str(), testing::HasSubstr(
                                absl::StrCat("        '", command->name, ":")));
    for (const OptionSpec& option : command->options) {
      EXPECT_THAT(text.str(),
                  testing::HasSubstr(absl::StrCat("--", option.name)));
    }
  }
}

}  // namespace
}  // namespace flatcow::tool
