// SPDX-License-Identifier: Apache-2.0
#include "output.h"

#include "flatcow/printable.h"

namespace flatcow::tool {

void PrintJson(std::ostream& out, const Json& value) {
  out << value.dump(4, ' ', /*ensure_ascii=*/true,
                    Json::error_handler_t::replace)
      << '\n';
}

void PrintWarning(const Streams& streams, absl::string_view message) {
  streams.err << "flatcow-img: warning: " << Printable(message) << '\n';
}

void PrintWarnings(const Streams& streams,
                   absl::Span<const std::string> messages) {
  for (const std::string& message : messages) PrintWarning(streams, message);
}

}  // namespace flatcow::tool
