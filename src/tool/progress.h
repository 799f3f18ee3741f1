// SPDX-License-Identifier: Apache-2.0
//
// What -p shows: on a terminal a bar that is drawn again and again, elsewhere
// qemu-img's "    (NN.NN/100%)\r", which programs read.
#ifndef FLATCOW_TOOL_PROGRESS_H_
#define FLATCOW_TOOL_PROGRESS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "streams.h"

namespace flatcow::tool {

struct ProgressState {
  uint64_t done = 0;   // bytes
  uint64_t total = 0;  // bytes
  std::chrono::milliseconds elapsed = {};
};

// From 0 to 100; nothing to do is 100.
double Percent(const ProgressState& state);

// qemu-img's form.
std::string PercentLine(double percent);

// " 45.2% [=====>      ] 1.20 GiB/s, 0:12 left", as long as `columns` or a
// little shorter; without the parts that don't fit.
std::string ProgressBar(const ProgressState& state, size_t columns);

// "0:07", "12:30", "1:02:03".
std::string Duration(std::chrono::seconds time);

class Progress {
 public:
  // Whether it's a terminal is asked of out_descriptor.
  Progress(const Streams& streams, bool shown);

  void Update(uint64_t done, uint64_t total);

  // Ends the line. After it other things can be printed. `complete`: all is
  // done.
  void End(bool complete);

 private:
  using Clock = std::chrono::steady_clock;

  void PrintPercent(double percent);
  void Draw(const ProgressState& state);
  size_t Columns() const;

  const Streams streams_;
  const bool shown_;
  const bool terminal_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point drawn_at_ = {};
  ProgressState state_;
  size_t drawn_columns_ = 0;     // of the line that stands on the terminal
  double printed_percent_ = -1;  // -1: nothing is printed
};

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_PROGRESS_H_
