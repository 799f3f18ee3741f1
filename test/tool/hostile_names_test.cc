// SPDX-License-Identifier: Apache-2.0
//
// Names inside images can hold any bytes. Whatever the tool says about them is
// safe to print.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "flatcow/printable.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

// A line of its own, commands to the terminal in three codings, a byte that is
// not UTF-8, and a change of direction.
const char kName[] =
    "no\nflatcow-img: all is well\x1b[2J\u009b2J\x9b\xff\u202e";

class HostileNamesTest : public ToolTest {
 protected:
  // Nothing in either stream but printable lines.
  static void ExpectHarmless(const RunResult& result) {
    for (const std::string& stream : {result.out, result.err}) {
      std::string text;
      for (const char c : stream) {
        if (c != '\n') text.push_back(c);
      }
      EXPECT_EQ(Printable(text), text);
      EXPECT_EQ(("\n" + stream).find("\nflatcow-img: all is well"),
                std::string::npos)
          << stream;
    }
  }

  // The same, and the name is there, to be seen as it is.
  static void ExpectShown(const std::vector<std::string>& args) {
    const RunResult result = Tool(args);
    SCOPED_TRACE(args.front());
    ExpectHarmless(result);
    EXPECT_NE((result.out + result.err).find("no\\x0aflatcow-img"),
              std::string::npos)
        << result.out << result.err;
  }

  static void Create(const std::vector<std::string>& options) {
    std::vector<std::string> args = {"create", "-u"};
    args.insert(args.end(), options.begin(), options.end());
    const RunResult result = Tool(args);
    ASSERT_EQ(result.code, 0) << result.err;
    ExpectHarmless(result);
  }
};

TEST_F(HostileNamesTest, OfABackingFileThatIsMissing) {
  Create({"-f", "qed", "-b", kName, "-F", "raw", "a", "1M"});
  ExpectShown({"info", "a"});
  ExpectShown({"info", "--backing-chain", "a"});
  ExpectShown({"map", "a"});
  ExpectShown({"check", "a"});
  ExpectShown({"create", "-f", "qed", "-b", "a", "-F", "qed", "b"});
  ExpectShown({"convert", "a", "b"});
  ExpectShown({"compare", "a", "a"});
  ExpectShown({"commit", "a"});
  ExpectShown({"rebase", "-b", "", "a"});
  ExpectShown({"flatten", "a"});
  ExpectShown({"measure", "-O", "qed", "a"});
  ExpectHarmless(Tool({"info", "--output=json", "a"}));
  ExpectHarmless(Tool({"check", "--output=json", "a"}));
}

TEST_F(HostileNamesTest, OfABackingFileThatIsThere) {
  MakeRaw(kName, 1 << 20, 5000);
  Create({"-f", "qed", "-b", kName, "-F", "raw", "a", "1M"});
  ExpectShown({"info", "a"});
  ExpectShown({"info", "--backing-chain", "a"});
  ExpectShown({"map", "a"});
  ExpectHarmless(Tool({"map", "--output=json", "a"}));
  ExpectHarmless(Tool({"check", "a"}));
}

TEST_F(HostileNamesTest, OfAnImageFile) {
  const std::string key = std::string("image_file=") + kName;
  Create({"-f", "add-cow", "-o", key, "a", "1M"});
  ExpectShown({"info", "a"});
  ExpectShown({"flatten", "a"});
  std::filesystem::remove(kName);
  ExpectShown({"info", "a"});
  ExpectShown({"map", "a"});
  ExpectShown({"check", "a"});
}

TEST_F(HostileNamesTest, OfTheImageItself) {
  ExpectShown({"info", kName});
  ExpectShown({"check", kName});
  ExpectShown({"map", kName});
  ExpectShown({"convert", kName, "b"});
  ExpectShown({"compare", kName, kName});
  ExpectShown({"commit", kName});
  ExpectShown({"rebase", "-b", "b", kName});
  ExpectShown({"resize", kName, "1M"});
  ExpectShown({"flatten", kName});
  ExpectShown({"amend", "-o", "backing_file=b", kName});
  ExpectShown({"measure", kName});
  ExpectShown({"create", "-f", kName, "a", "1M"});
  ExpectShown({"create", "-f", "qed", kName, "1M"});
  ExpectShown({"info", kName});
  ExpectShown({"convert", kName, kName});
  ExpectShown({"resize", kName, kName});
  ExpectShown({"convert", "-m", kName, "a", "b"});
  ExpectShown({"amend", "-o", kName, kName});
  ExpectShown({kName});
  ExpectShown({"info", std::string("--") + kName, "a"});
}

}  // namespace
}  // namespace flatcow::tool
