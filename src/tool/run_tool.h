// SPDX-License-Identifier: Apache-2.0
//
// The program flatcow-img without its main(), so that a test can run it.
//
//   std::ostringstream out, err;
//   int code = RunTool({"info", "--output=json", "vm.qed"}, {out, err});
#ifndef FLATCOW_TOOL_RUN_TOOL_H_
#define FLATCOW_TOOL_RUN_TOOL_H_

#include <string>
#include <vector>

#include "streams.h"

namespace flatcow::tool {

// Runs one command line; `args` begins behind the program's name.
// Return values: the exit code: 0 done, 1 error (one line on streams.err that
// begins "flatcow-img: "), others as the verb defines them.
int RunTool(const std::vector<std::string>& args, const Streams& streams);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_RUN_TOOL_H_
