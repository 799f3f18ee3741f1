// SPDX-License-Identifier: Apache-2.0
//
// What all verbs print in the same way.
#ifndef FLATCOW_TOOL_OUTPUT_H_
#define FLATCOW_TOOL_OUTPUT_H_

#include <ostream>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"
#include "streams.h"

namespace flatcow::tool {

// Keeps keys in the order they were added.
using Json = nlohmann::ordered_json;

// One value and a newline, indented by four, ASCII only. Bytes that are not
// UTF-8 become U+FFFD.
void PrintJson(std::ostream& out, const Json& value);

// "flatcow-img: warning: MESSAGE" to the error stream.
void PrintWarning(const Streams& streams, absl::string_view message);
void PrintWarnings(const Streams& streams,
                   absl::Span<const std::string> messages);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_OUTPUT_H_
