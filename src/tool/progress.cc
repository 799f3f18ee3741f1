// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "size.h"

namespace flatcow::tool {
namespace {

constexpr std::chrono::milliseconds kRedraw(100);
constexpr size_t kNarrowestBar = 8;
constexpr size_t kWidestBar = 60;
constexpr size_t kUsualColumns = 80;

std::string Rate(const ProgressState& state) {
  const double seconds = std::chrono::duration<double>(state.elapsed).count();
  if (seconds <= 0) return "";
  const double rate = static_cast<double>(state.done) / seconds;
  return absl::StrCat(HumanSize(static_cast<uint64_t>(rate)), "/s");
}

// Empty while there is nothing to tell it from.
std::string Left(const ProgressState& state) {
  if (state.done == 0 || state.done >= state.total) return "";
  const double share = static_cast<double>(state.total - state.done) /
                       static_cast<double>(state.done);
  const double seconds =
      std::chrono::duration<double>(state.elapsed).count() * share;
  constexpr double kLongest = 100 * 3600;
  if (seconds >= kLongest) return "";
  return absl::StrCat(
      Duration(std::chrono::seconds(static_cast<int64_t>(std::ceil(seconds)))),
      " left");
}

std::string Bar(double percent, size_t width) {
  const size_t inside = width - 2;
  const auto filled =
      static_cast<size_t>(percent / 100 * static_cast<double>(inside));
  std::string bar = absl::StrCat("[", std::string(filled, '='));
  if (filled < inside) bar.push_back('>');
  bar.resize(width - 1, ' ');
  bar.push_back(']');
  return bar;
}

}  // namespace

double Percent(const ProgressState& state) {
  if (state.done >= state.total) return 100;
  return static_cast<double>(state.done) * 100 /
         static_cast<double>(state.total);
}

std::string PercentLine(double percent) {
  return absl::StrFormat("    (%3.2f/100%%)\r", percent);
}

std::string Duration(std::chrono::seconds time) {
  const int64_t seconds = time.count();
  if (seconds < 3600) {
    return absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
  }
  return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60,
                         seconds % 60);
}

std::string ProgressBar(const ProgressState& state, size_t columns) {
  const double percent = Percent(state);
  // Not 100 before it is.
  const double shown = percent < 100 ? std::floor(percent * 10) / 10 : percent;
  const std::string number = absl::StrFormat("%5.1f%%", shown);
  std::string tail = Rate(state);
  const std::string left = Left(state);
  const size_t narrowest = number.size() + 1 + kNarrowestBar;
  if (!left.empty() &&
      narrowest + 1 + tail.size() + 2 + left.size() <= columns) {
    absl::StrAppend(&tail, ", ", left);
  }
  if (!tail.empty()) tail = absl::StrCat(" ", tail);
  if (narrowest + tail.size() > columns) tail.clear();
  if (narrowest > columns) return number.size() > columns ? "" : number;
  const size_t width =
      std::min(columns - number.size() - 1 - tail.size(), kWidestBar);
  return absl::StrCat(number, " ", Bar(percent, width), tail);
}

Progress::Progress(const Streams& streams, bool shown)
    : streams_(streams),
      shown_(shown),
      terminal_(streams.out_descriptor >= 0 &&
                isatty(streams.out_descriptor) != 0) {}

void Progress::Update(uint64_t done, uint64_t total) {
  if (!shown_) return;
  const Clock::time_point now = Clock::now();
  state_ = {
      done, total,
      std::chrono::duration_cast<std::chrono::milliseconds>(now - start_)};
  if (terminal_) {
    if (drawn_columns_ != 0 && now - drawn_at_ < kRedraw) return;
    drawn_at_ = now;
    Draw(state_);
  } else {
    PrintPercent(Percent(state_));
  }
}

void Progress::End(bool complete) {
  if (!shown_) return;
  if (complete) {
    state_.done = state_.total;
    if (!terminal_) {
      PrintPercent(100);
    } else if (drawn_columns_ != 0) {
      Draw(state_);
    }
  }
  if (drawn_columns_ != 0 || printed_percent_ >= 0) {
    streams_.out << '\n' << std::flush;
  }
}

// As qemu-img does: the beginning, the end, and what is more than 1 % further.
void Progress::PrintPercent(double percent) {
  if (printed_percent_ < 0) {
    printed_percent_ = 0;
    streams_.out << PercentLine(0) << std::flush;
  }
  const bool last = percent >= 100 && printed_percent_ < 100;
  if (!last && percent <= printed_percent_ + 1) return;
  printed_percent_ = percent;
  streams_.out << PercentLine(percent) << std::flush;
}

void Progress::Draw(const ProgressState& state) {
  // The last column stays free: a terminal may wrap behind it.
  std::string line = ProgressBar(state, Columns() - 1);
  const size_t columns = line.size();
  // What the line before left behind it.
  if (columns < drawn_columns_) line.resize(drawn_columns_, ' ');
  drawn_columns_ = std::max<size_t>(columns, 1);
  streams_.out << '\r' << line << std::flush;
}

size_t Progress::Columns() const {
  winsize size = {};
  if (ioctl(streams_.out_descriptor, TIOCGWINSZ, &size) != 0 ||
      size.ws_col == 0) {
    return kUsualColumns;
  }
  return size.ws_col;
}

}  // namespace flatcow::tool
