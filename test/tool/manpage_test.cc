// SPDX-License-Identifier: Apache-2.0
//
// The manual pages name the options that --help names, no more and no fewer.
//
// Looks at the built programs and the pages where the environment says they
// are: FLATCOW_BINARY, FLATCOW_IMG_BINARY, FLATCOW_MAN_DIR.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::ContainerEq;
using testing::Contains;
using Options = std::set<std::string>;

std::vector<std::string> Lines(const std::string& text) {
  return absl::StrSplit(text, '\n');
}

// The options of a help text: lines that are indented and begin with '-'.
//   "  -f, --format=FMT  ..."  gives -f and --format
//   "  -o uid=N  ..."          gives uid: an option of a mount
Options HelpOptions(const std::string& text) {
  Options options;
  for (const std::string& line : Lines(text)) {
    const std::vector<std::string> words = Words(line);
    if (!absl::StartsWith(line, " ") || words.empty()) continue;
    for (size_t i = 0; i < words.size(); ++i) {
      if (!absl::StartsWith(words[i], "-")) break;
      const absl::string_view word = absl::StripSuffix(words[i], ",");
      if (word == "-o" && i + 1 < words.size() &&
          !absl::StartsWith(words[i + 1], "-")) {
        options.insert(std::vector<std::string>(
            absl::StrSplit(words[i + 1], absl::ByAnyChar("[=")))[0]);
        break;
      }
      options.insert(std::string(word.substr(0, word.find('='))));
    }
  }
  return options;
}

// The words behind the line that ends with `heading`, up to an empty line.
Options HelpWords(const std::string& text, const std::string& heading) {
  Options options;
  bool inside = false;
  for (const std::string& line : Lines(text)) {
    if (line == heading) {
      inside = true;
    } else if (line.empty()) {
      inside = false;
    } else if (inside) {
      for (const std::string& word : Words(line)) {
        options.insert(word.substr(0, word.find('=')));
      }
    }
  }
  return options;
}

// One section or subsection of a page: the lines behind its heading.
std::vector<std::string> Section(const std::string& page,
                                 const std::string& heading) {
  std::vector<std::string> lines;
  bool inside = false;
  for (const std::string& line : Lines(page)) {
    if (absl::StartsWith(line, ".Sh ") || absl::StartsWith(line, ".Ss ")) {
      inside = line.substr(4) == heading;
    } else if (inside) {
      lines.push_back(line);
    }
  }
  EXPECT_FALSE(lines.empty()) << "no section " << heading;
  return lines;
}

// The options of one `.It` line: "Fl f , Fl -format Ns = Ns Ar FMT" gives -f
// and --format, "Cm uid Ns = Ns Ar N" gives uid.
Options ItemOptions(const std::string& line) {
  Options options;
  std::string macro;
  bool named = false;  // the option before the next comma has its name
  for (const std::string& word : Words(line.substr(4))) {
    if (word == ",") {
      named = false;
    } else if (word == "Fl" || word == "Cm") {
      macro = word;
    } else if (!named) {
      options.insert(macro == "Fl" ? absl::StrCat("-", word) : word);
      named = true;
    }
  }
  return options;
}

Options PageOptions(const std::string& page, const std::string& heading,
                    const std::string& macro) {
  Options options;
  for (const std::string& line : Section(page, heading)) {
    if (!absl::StartsWith(line, absl::StrCat(".It ", macro, " "))) continue;
    options.merge(ItemOptions(line));
  }
  return options;
}

Options Union(Options a, const Options& b) {
  a.insert(b.begin(), b.end());
  return a;
}

class ManpageTest : public testing::Test {
 protected:
  static std::string Environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  }

  static std::string ReadPage(const std::string& name) {
    const std::string path =
        absl::StrCat(Environment("FLATCOW_MAN_DIR"), "/", name);
    std::ifstream file(path);
    EXPECT_TRUE(file.good()) << path;
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

  static std::string Help(const std::string& program,
                          const std::vector<std::string>& args) {
    const RunResult result = RunProgram(program, args);
    EXPECT_EQ(result.code, 0) << program << ": " << result.err;
    return result.out;
  }

  static bool Have(const char* binary) {
    return !Environment(binary).empty() &&
           !Environment("FLATCOW_MAN_DIR").empty();
  }
};

TEST_F(ManpageTest, FlatcowImgBeforeTheVerb) {
  if (!Have("FLATCOW_IMG_BINARY")) {
    GTEST_SKIP() << "FLATCOW_IMG_BINARY or FLATCOW_MAN_DIR is not set";
  }
  const std::string help = Help(Environment("FLATCOW_IMG_BINARY"), {"--help"});
  EXPECT_THAT(PageOptions(ReadPage("flatcow-img.1"), "DESCRIPTION", "Fl"),
              ContainerEq(HelpOptions(help)));
}

TEST_F(ManpageTest, FlatcowImgVerbs) {
  if (!Have("FLATCOW_IMG_BINARY")) {
    GTEST_SKIP() << "FLATCOW_IMG_BINARY or FLATCOW_MAN_DIR is not set";
  }
  const std::string program = Environment("FLATCOW_IMG_BINARY");
  const std::string page = ReadPage("flatcow-img.1");
  std::vector<std::string> verbs;
  bool inside = false;
  for (const std::string& line : Lines(Help(program, {"--help"}))) {
    if (line.empty()) inside = false;
    if (inside) verbs.push_back(Words(line)[0]);
    if (line == "Verbs:") inside = true;
  }
  ASSERT_THAT(verbs, Contains("create"));
  for (const std::string& verb : verbs) {
    EXPECT_THAT(PageOptions(page, verb, "Fl"),
                ContainerEq(HelpOptions(Help(program, {verb, "--help"}))))
        << verb;
    EXPECT_THAT(page, testing::HasSubstr(absl::StrCat("\n.Cm ", verb, "\n")))
        << "synopsis of " << verb;
  }
}

TEST_F(ManpageTest, KeysOfCreate) {
  if (!Have("FLATCOW_IMG_BINARY")) {
    GTEST_SKIP() << "FLATCOW_IMG_BINARY or FLATCOW_MAN_DIR is not set";
  }
  Options keys;
  for (const char* format : {"add-cow", "qcow2", "qed", "raw"}) {
    const std::string help = Help(Environment("FLATCOW_IMG_BINARY"),
                                  {"create", "-f", format, "-o", "help"});
    for (const std::string& line : Lines(help)) {
      if (!absl::StartsWith(line, "  ")) continue;
      const std::string word = Words(line)[0];
      keys.insert(word.substr(0, word.find('=')));
    }
  }
  EXPECT_THAT(PageOptions(ReadPage("flatcow-img.1"), "create", "Cm"),
              ContainerEq(keys));
}

TEST_F(ManpageTest, KeysOfAmend) {
  if (!Have("FLATCOW_IMG_BINARY")) {
    GTEST_SKIP() << "FLATCOW_IMG_BINARY or FLATCOW_MAN_DIR is not set";
  }
  Options keys;
  for (const char* format : {"add-cow", "qcow2", "qed"}) {
    const std::string help = Help(Environment("FLATCOW_IMG_BINARY"),
                                  {"amend", "-f", format, "-o", "help"});
    for (const std::string& line : Lines(help)) {
      if (!absl::StartsWith(line, "  ")) continue;
      const std::string word = Words(line)[0];
      keys.insert(word.substr(0, word.find('=')));
    }
  }
  EXPECT_THAT(PageOptions(ReadPage("flatcow-img.1"), "amend", "Cm"),
              ContainerEq(keys));
}

// A command of the EXAMPLES, and what it prints, if the page shows that.
struct Example {
  std::string command;
  std::string output;
};

std::vector<Example> Examples(const std::string& page) {
  std::vector<Example> examples;
  bool inside = false;
  std::string line;
  for (const std::string& part : Lines(page)) {
    if (part == ".Sh EXAMPLES") inside = true;
    if (part == ".Sh SEE ALSO") inside = false;
    if (!inside || absl::StartsWith(part, ".")) continue;
    absl::string_view text = part;
    const bool continued = absl::ConsumeSuffix(&text, "\\e");
    absl::StrAppend(
        &line, line.empty() ? text : absl::StripLeadingAsciiWhitespace(text));
    if (continued) continue;
    if (absl::StartsWith(line, "$ ")) {
      examples.push_back({line.substr(2), ""});
    } else if (!examples.empty() && !absl::EndsWith(line, ":")) {
      absl::StrAppend(&examples.back().output, line, "\n");
    }
    line.clear();
  }
  return examples;
}

class ManpageExamplesTest : public ToolTest {};

// As a reader would type them, one after the other.
TEST_F(ManpageExamplesTest, DoWhatThePageSays) {
  const char* binary = std::getenv("FLATCOW_IMG_BINARY");
  const char* folder = std::getenv("FLATCOW_MAN_DIR");
  if (binary == nullptr || folder == nullptr) {
    GTEST_SKIP() << "FLATCOW_IMG_BINARY or FLATCOW_MAN_DIR is not set";
  }
  std::ifstream file(absl::StrCat(folder, "/flatcow-img.1"));
  std::ostringstream page;
  page << file.rdbuf();
  const std::vector<Example> examples = Examples(page.str());
  EXPECT_GE(examples.size(), 12u);
  const std::string programs =
      std::filesystem::path(binary).parent_path().string();
  MakeRaw("golden.raw", 64 << 20, 1 << 20);
  for (const Example& example : examples) {
    const RunResult result = RunProgram(
        "sh",
        {"-c", absl::StrCat("PATH='", programs, "':$PATH; ", example.command)});
    EXPECT_EQ(result.code, 0) << example.command << "\n" << result.err;
    EXPECT_EQ(result.err, "") << example.command;
    if (example.output.empty()) continue;
    EXPECT_EQ(result.out, example.output) << example.command;
  }
}

TEST_F(ManpageTest, Flatcow) {
  if (!Have("FLATCOW_BINARY")) {
    GTEST_SKIP() << "FLATCOW_BINARY or FLATCOW_MAN_DIR is not set";
  }
  const std::string help = Help(Environment("FLATCOW_BINARY"), {"--help"});
  const std::string page = ReadPage("flatcow.1");
  // The help names -o only with its words, which are compared one by one.
  Options letters = PageOptions(page, "OPTIONS", "Fl");
  EXPECT_EQ(letters.erase("-o"), 1u);
  EXPECT_THAT(Union(letters, PageOptions(page, "Mount options", "Cm")),
              ContainerEq(HelpOptions(help)));
}

TEST_F(ManpageTest, FlatcowWordsOfMount) {
  if (!Have("FLATCOW_BINARY")) {
    GTEST_SKIP() << "FLATCOW_BINARY or FLATCOW_MAN_DIR is not set";
  }
  const std::string help = Help(Environment("FLATCOW_BINARY"), {"--help"});
  const Options words = HelpWords(help, "Taken as mount(8) means them:");
  EXPECT_THAT(words, Contains("rw"));
  EXPECT_THAT(PageOptions(ReadPage("flatcow.1"), "Words of mount(8)", "Cm"),
              ContainerEq(words));
}

}  // namespace
}  // namespace flatcow::tool
