// SPDX-License-Identifier: Apache-2.0
//
// Completion for shells, made from the table that --help is made from.
#ifndef FLATCOW_FUSE_COMPLETION_COMPLETION_H_
#define FLATCOW_FUSE_COMPLETION_COMPLETION_H_

#include <string>

namespace flatcow::daemon {

// To be sourced by bash; needs nothing but bash.
std::string BashCompletion();

// The function _flatcow for zsh's completion system.
std::string ZshCompletion();

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_COMPLETION_COMPLETION_H_
