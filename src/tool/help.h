// SPDX-License-Identifier: Apache-2.0
//
// Help texts, made from the tables that the parser uses.
#ifndef FLATCOW_TOOL_HELP_H_
#define FLATCOW_TOOL_HELP_H_

#include <string>

#include "absl/types/span.h"
#include "command.h"
#include "options.h"

namespace flatcow::tool {

// Options in front of the verb, besides kHelpOption.
inline constexpr OptionSpec kToolOptions[] = {
    {'V', "version", nullptr, "show the version"},
};

// `flatcow-img --help`: usage, the verbs, the options.
std::string ToolHelp();

// `flatcow-img VERB --help`: usage, what it does, one line per option that
// begins with two spaces and "-x, --name" or "    --name".
std::string CommandHelp(const Command& command);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_HELP_H_
