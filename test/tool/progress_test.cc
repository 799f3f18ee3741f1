// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flatcow::tool {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

constexpr uint64_t kMiB = 1 << 20;
constexpr ProgressState kHalf = {512 * kMiB, 1024 * kMiB, milliseconds(2000)};

// A terminal of so many columns.
class Terminal {
 public:
  explicit Terminal(uint16_t columns) {
    winsize size = {};
    size.ws_row = 24;
    size.ws_col = columns;
    EXPECT_EQ(openpty(&controller_, &terminal_, nullptr, nullptr, &size), 0);
  }
  ~Terminal() {
    close(controller_);
    close(terminal_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  int descriptor() const { return terminal_; }

 private:
  int controller_ = -1;
  int terminal_ = -1;
};

// What is shown of these steps of 1,000.
std::string Shown(const std::vector<uint64_t>& steps, bool complete,
                  int descriptor = -1, bool shown = true) {
  std::ostringstream out;
  Progress progress({out, out, descriptor}, shown);
  for (const uint64_t step : steps) progress.Update(step, 1000);
  progress.End(complete);
  return out.str();
}

TEST(ProgressTest, Percentages) {
  EXPECT_EQ(Percent({0, 3, {}}), 0);
  EXPECT_NEAR(Percent({1, 3, {}}), 33.333, 0.001);
  EXPECT_EQ(Percent({3, 3, {}}), 100);
  EXPECT_EQ(Percent({0, 0, {}}), 100);
  EXPECT_NEAR(Percent({uint64_t{1} << 62, (uint64_t{1} << 63) - 1, {}}), 50,
              0.001);
  EXPECT_EQ(PercentLine(0), "    (0.00/100%)\r");
  EXPECT_EQ(PercentLine(12.345), "    (12.35/100%)\r");
  EXPECT_EQ(PercentLine(100), "    (100.00/100%)\r");
}

TEST(ProgressTest, Durations) {
  EXPECT_EQ(Duration(seconds(0)), "0:00");
  EXPECT_EQ(Duration(seconds(7)), "0:07");
  EXPECT_EQ(Duration(minutes(12) + seconds(30)), "12:30");
  EXPECT_EQ(Duration(hours(1) + minutes(2) + seconds(3)), "1:02:03");
  EXPECT_EQ(Duration(hours(99)), "99:00:00");
}

TEST(ProgressTest, ABarWithRateAndTimeLeft) {
  EXPECT_EQ(ProgressBar(kHalf, 60),
            " 50.0% [===============>              ] 256 MiB/s, 0:02 left");
  EXPECT_EQ(ProgressBar({1024 * kMiB, 1024 * kMiB, milliseconds(2000)}, 60),
            "100.0% [=========================================] 512 MiB/s");
}

TEST(ProgressTest, NothingIsSaidOfWhatIsNotKnown) {
  EXPECT_EQ(ProgressBar({0, kMiB, milliseconds(0)}, 30),
            "  0.0% [>                    ]");
  EXPECT_THAT(ProgressBar({0, kMiB, seconds(5)}, 60), EndsWith("] 0 B/s"));
  // A time that nobody will wait for.
  EXPECT_THAT(ProgressBar({1, kMiB, hours(1)}, 60), Not(HasSubstr("left")));
}

TEST(ProgressTest, A100IsTheEnd) {
  EXPECT_THAT(ProgressBar({999999, 1000000, seconds(1)}, 60),
              HasSubstr(" 99.9% "));
}

TEST(ProgressTest, FitsEveryWidth) {
  for (size_t columns = 0; columns < 200; ++columns) {
    const std::string bar = ProgressBar(kHalf, columns);
    EXPECT_LE(bar.size(), columns);
    EXPECT_EQ(bar.empty(), columns < 6) << columns;
    EXPECT_EQ(absl::StrContains(bar, "["), columns >= 15) << columns;
    EXPECT_EQ(absl::StrContains(bar, "MiB/s"), columns >= 25) << columns;
    EXPECT_EQ(absl::StrContains(bar, "left"), columns >= 36) << columns;
  }
}

TEST(ProgressTest, IntoAPipeItIsQemus) {
  EXPECT_EQ(Shown({0, 250, 1000}, true),
            "    (0.00/100%)\r    (25.00/100%)\r    (100.00/100%)\r\n");
}

TEST(ProgressTest, IntoAPipeSmallStepsAreNotShown) {
  EXPECT_EQ(Shown({5, 10, 11, 20, 22}, false),
            "    (0.00/100%)\r    (1.10/100%)\r    (2.20/100%)\r\n");
}

TEST(ProgressTest, BeginningAndEndAreShownOfAnything) {
  EXPECT_EQ(Shown({}, true), "    (0.00/100%)\r    (100.00/100%)\r\n");
  EXPECT_EQ(Shown({}, false), "");
}

TEST(ProgressTest, NothingIsShownUnasked) {
  const Terminal terminal(80);
  EXPECT_EQ(Shown({0, 500, 1000}, true, -1, false), "");
  EXPECT_EQ(Shown({0, 500, 1000}, true, terminal.descriptor(), false), "");
}

TEST(ProgressTest, OnATerminalOneLineIsDrawnAgain) {
  const Terminal terminal(40);
  const std::string text = Shown({0, 500, 1000}, true, terminal.descriptor());
  EXPECT_THAT(text, EndsWith("\n"));
  const std::vector<std::string> lines =
      absl::StrSplit(text.substr(0, text.size() - 1), '\r');
  ASSERT_GE(lines.size(), 3u) << text;
  EXPECT_EQ(lines.front(), "");
  EXPECT_THAT(lines[1], HasSubstr("  0.0% [>"));
  EXPECT_THAT(lines.back(), HasSubstr("100.0% [==="));
  for (const std::string& line : lines) EXPECT_LT(line.size(), 40u) << line;
}

TEST(ProgressTest, ATerminalIsNotFlooded) {
  const Terminal terminal(80);
  const std::vector<uint64_t> steps(100000, 500);
  const std::string text = Shown(steps, false, terminal.descriptor());
  EXPECT_LT(std::count(text.begin(), text.end(), '\r'), 1000);
}

TEST(ProgressTest, ATerminalWithoutASizeHasTheUsualOne) {
  const Terminal terminal(0);
  EXPECT_THAT(
      Shown({500}, false, terminal.descriptor()),
      testing::SizeIs(testing::AllOf(testing::Gt(60u), testing::Lt(85u))));
}

}  // namespace
}  // namespace flatcow::tool
