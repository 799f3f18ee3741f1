// SPDX-License-Identifier: Apache-2.0
//
// SIGINT and SIGTERM as an orderly end: a verb that goes through a whole disk
// stops at the next piece and says what its files are worth.
#ifndef FLATCOW_TOOL_INTERRUPTION_H_
#define FLATCOW_TOOL_INTERRUPTION_H_

#include <signal.h>

namespace flatcow::tool {

// Catches the signals while it lives; at most one lives at a time. The second
// of the same kind ends the process, and a signal that is ignored stays so.
class Interruption {
 public:
  Interruption();
  ~Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  // The signal that came; 0: none. Any thread may ask.
  int signal() const;

 private:
  struct sigaction previous_interrupt_ = {};
  struct sigaction previous_terminate_ = {};
};

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_INTERRUPTION_H_
