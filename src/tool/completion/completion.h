// SPDX-License-Identifier: Apache-2.0
//
// Completion for shells, made from the tables that --help is made from.
#ifndef FLATCOW_TOOL_COMPLETION_COMPLETION_H_
#define FLATCOW_TOOL_COMPLETION_COMPLETION_H_

#include <string>

namespace flatcow::tool {

// To be sourced by bash; needs nothing but bash.
std::string BashCompletion();

// The function _flatcow-img for zsh's completion system.
std::string ZshCompletion();

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_COMPLETION_COMPLETION_H_
