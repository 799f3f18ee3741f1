// SPDX-License-Identifier: Apache-2.0
#include "output.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace flatcow::tool {

void PrintJson(std::ostream& out, const Json& value) {
  out << value.dump(4, ' ', /*ensure_ascii=*/true,
                    Json::error_handler_t::replace)
      << '\n';
}

std::string Printable(absl::string_view text) {
  std::string printable;
  for (const char c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      absl::StrAppendFormat(&printable, "\\x%02x",
                            static_cast<unsigned char>(c));
    } else {
      printable.push_back(c);
    }
  }
  return printable;
}

void PrintWarning(const Streams& streams, absl::string_view message) {
  streams.err << "flatcow-img: warning: " << Printable(message) << '\n';
}

}  // namespace flatcow::tool
