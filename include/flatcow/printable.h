// SPDX-License-Identifier: Apache-2.0
//
// Text of strangers, made fit for terminals and logs: file names inside an
// image can hold any bytes, and must not command a terminal or forge a line.
//
//   Printable("vm\n\x1b[2J\xff")     "vm\\x0a\\x1b[2J\\xff"
#ifndef FLATCOW_PRINTABLE_H_
#define FLATCOW_PRINTABLE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace flatcow {

// `text` with every byte written as \xNN that is not part of well-formed UTF-8,
// or part of a control character, a separator of lines, or a mark that changes
// the direction of writing.
std::string Printable(absl::string_view text);

}  // namespace flatcow

#endif  // FLATCOW_PRINTABLE_H_
