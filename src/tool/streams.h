// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TOOL_STREAMS_H_
#define FLATCOW_TOOL_STREAMS_H_

#include <ostream>

namespace flatcow::tool {

// Where the tool writes: the process's own streams, or a test's strings.
// Results go to `out`; errors, warnings and the findings of a check to `err`.
struct Streams {
  std::ostream& out;
  std::ostream& err;
  int out_descriptor = -1;  // behind `out`; -1: there is none
};

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_STREAMS_H_
