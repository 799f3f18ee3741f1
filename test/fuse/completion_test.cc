// SPDX-License-Identifier: Apache-2.0
//
// What the shells complete behind "flatcow". Looks at the files that were
// built, in the folder that FLATCOW_COMPLETION_DIR names.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "mount/daemon.h"
#include "options.h"
#include "support/temporary_directory.h"

namespace flatcow::daemon {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class DaemonCompletionTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* const folder = std::getenv("FLATCOW_COMPLETION_DIR");
    if (folder == nullptr) {
      GTEST_SKIP() << "FLATCOW_COMPLETION_DIR is not set";
    }
    folder_ = folder;
    MustRun("mkdir " + (directory_ / "folder") + " && touch " +
            (directory_ / "file"));
  }

  // What bash completes the end of this line to, sorted.
  std::vector<std::string> Completed(const std::string& line) const {
    const std::string output = MustRun(absl::StrCat(
        "cd ", directory_.path(), " && bash --noprofile --norc -c 'source ",
        folder_, "/flatcow; COMP_LINE=\"", line,
        "\"; COMP_POINT=${#COMP_LINE}; _flatcow 2>/dev/null; printf \"%s\\n\" "
        "\"${COMPREPLY[@]}\"'"));
    std::vector<std::string> lines =
        absl::StrSplit(output, '\n', absl::SkipEmpty());
    std::sort(lines.begin(), lines.end());
    return lines;
  }

  TemporaryDirectory directory_;
  std::string folder_;
};

TEST_F(DaemonCompletionTest, BashKnowsEveryOption) {
  const std::vector<std::string> completed = Completed("flatcow -o ");
  for (const OptionWord& word : OptionWords()) {
    EXPECT_THAT(completed, Contains(absl::StrCat(
                               word.name, word.argument.empty() ? "" : "=")));
  }
  EXPECT_THAT(Completed("flatcow -"),
              ElementsAre("--help", "--version", "-V", "-d", "-f", "-h", "-o"));
}

TEST_F(DaemonCompletionTest, BashCompletesTheLastOptionOfAList) {
  EXPECT_THAT(Completed("flatcow -f -o ro,allow_r"),
              ElementsAre("ro,allow_root"));
  // Bash keeps what is in front of the last '='.
  EXPECT_THAT(Completed("flatcow -o cache=none,pass"),
              ElementsAre("none,passthrough="));
}

TEST_F(DaemonCompletionTest, BashCompletesValues) {
  EXPECT_THAT(Completed("flatcow -o ro,cache="), ElementsAre("auto", "none"));
  EXPECT_THAT(Completed("flatcow -o lock=of"), ElementsAre("off"));
  EXPECT_THAT(Completed("flatcow -o allow="), ElementsAre("folder"));
  EXPECT_THAT(Completed("flatcow -o uid="), IsEmpty());
}

TEST_F(DaemonCompletionTest, BashCompletesFilesWhereFilesStand) {
  EXPECT_THAT(Completed("flatcow "), ElementsAre("file", "folder"));
  EXPECT_THAT(Completed("flatcow -o ro fo"), ElementsAre("folder"));
}

TEST_F(DaemonCompletionTest, ZshCanReadIts) {
  if (!HasProgram("zsh")) GTEST_SKIP() << "zsh is not installed";
  MustRun("zsh -n " + folder_ + "/_flatcow");
  const std::string text = MustRun("cat " + folder_ + "/_flatcow");
  for (const OptionWord& word : OptionWords()) {
    EXPECT_THAT(text, HasSubstr(word.name));
  }
  EXPECT_THAT(text,
              AllOf(HasSubstr("#compdef flatcow\n"), HasSubstr("'*allow[")));
}

}  // namespace
}  // namespace flatcow::daemon
