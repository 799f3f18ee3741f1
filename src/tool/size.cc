// SPDX-License-Identifier: Apache-2.0
#include "size.h"

#include <cmath>
#include <cstddef>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace flatcow::tool {
namespace {

constexpr char kUnits[] = "BKMGTPE";
constexpr uint64_t kLargest = std::numeric_limits<int64_t>::max();

absl::Status Malformed(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(
      "'", text,
      "' is not a size: expected a number of bytes, or one with a suffix "
      "k, M, G, T, P or E"));
}

absl::Status TooLarge(absl::string_view text) {
  return absl::OutOfRangeError(absl::StrCat(
      "'", text, "' is too large: sizes go up to ", kLargest, " bytes"));
}

absl::string_view TakeDigits(absl::string_view& text) {
  size_t count = 0;
  while (count < text.size() && absl::ascii_isdigit(text[count])) ++count;
  const absl::string_view digits = text.substr(0, count);
  text.remove_prefix(count);
  return digits;
}

absl::StatusOr<uint64_t> ParseHexadecimal(absl::string_view text) {
  const absl::string_view digits = text.substr(2);
  uint64_t value = 0;
  for (const char c : digits) {
    if (!absl::ascii_isxdigit(c)) return Malformed(text);
  }
  if (digits.empty()) return Malformed(text);
  if (!absl::SimpleHexAtoi(digits, &value) || value > kLargest) {
    return TooLarge(text);
  }
  return value;
}

}  // namespace

absl::StatusOr<uint64_t> ParseSize(absl::string_view text) {
  if (absl::StartsWithIgnoreCase(text, "0x")) return ParseHexadecimal(text);

  absl::string_view rest = text;
  const absl::string_view whole_digits = TakeDigits(rest);
  if (whole_digits.empty()) return Malformed(text);
  double fraction = 0;
  if (!rest.empty() && rest[0] == '.') {
    rest.remove_prefix(1);
    const std::string digits = absl::StrCat("0.", TakeDigits(rest), "0");
    if (!absl::SimpleAtod(digits, &fraction)) return Malformed(text);
  }

  int shift = 0;
  if (!rest.empty()) {
    const size_t unit =
        absl::string_view(kUnits).find(absl::ascii_toupper(rest[0]));
    if (rest.size() != 1 || unit == absl::string_view::npos) {
      return Malformed(text);
    }
    shift = static_cast<int>(unit) * 10;
  }
  if (fraction != 0 && shift == 0) return Malformed(text);

  uint64_t whole = 0;
  if (!absl::SimpleAtoi(whole_digits, &whole)) return TooLarge(text);
  const auto part = static_cast<uint64_t>(std::ldexp(fraction, shift));
  if (whole > (kLargest - part) >> shift) return TooLarge(text);
  return (whole << shift) + part;
}

std::string HumanSize(uint64_t bytes) {
  int exponent = 0;
  // One unit up as soon as the integer part would have four digits.
  std::frexp(static_cast<double>(bytes) / (1000.0 / 1024.0), &exponent);
  const int unit = bytes == 0 ? 0 : (exponent - 1) / 10;
  const double value = std::ldexp(static_cast<double>(bytes), -10 * unit);
  if (unit == 0) return absl::StrFormat("%.3g B", value);
  return absl::StrFormat("%.3g %ciB", value, kUnits[unit]);
}

}  // namespace flatcow::tool
