// SPDX-License-Identifier: Apache-2.0
//
// The tool's readers of sizes, create keys and command lines. Input: words,
// each ended by a NUL.
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "amend_keys.h"
#include "create_keys.h"
#include "fuzz/fuzz_target.h"
#include "options.h"
#include "size.h"

namespace flatcow {
namespace {

constexpr tool::OptionSpec kOptions[] = {
    {'q', "quiet", nullptr, "a flag"},
    {'f', "format", "FMT", "an option"},
    {'\0', "output", "FORM", "one without a letter"},
    {'F', "force-share", nullptr, "a name that begins as another does"},
};

void FuzzSize(absl::string_view word) {
  const auto size = tool::ParseSize(word);
  if (!size.ok()) {
    if (size.status().message().empty()) FuzzFinding("an error without text");
    return;
  }
  if (*size > uint64_t{std::numeric_limits<int64_t>::max()}) {
    FuzzFinding(absl::StrCat("a size above 2^63 - 1: ", *size));
  }
  if (tool::HumanSize(*size).empty()) FuzzFinding("a size without text");
  const auto again = tool::ParseSize(absl::StrCat(*size));
  if (!again.ok() || *again != *size) {
    FuzzFinding(absl::StrCat("a size that does not parse: ", *size));
  }
}

void FuzzKeys(absl::string_view word) {
  for (const char* format : {"qed", "add-cow", "raw"}) {
    CreateOptions options;
    options.format = format;
    const absl::Status status = tool::StoreKeys(word, options);
    if (!status.ok() && status.message().empty()) {
      FuzzFinding("an error without text");
    }
  }
  for (const char* format : {"qed", "add-cow"}) {
    AmendOptions options;
    const auto keys = tool::AmendKeys(format);
    if (!keys.ok()) FuzzFinding("a format without keys");
    const absl::Status status =
        tool::StoreKeyList(word, format, *keys, options);
    if (!status.ok() && status.message().empty()) {
      FuzzFinding("an error without text");
    }
  }
  // What was escaped comes back.
  if (word.empty()) return;
  CreateOptions options;
  options.format = "add-cow";
  const absl::Status status = tool::StoreKeys(
      absl::StrCat("image_file=", tool::EscapeCommas(word)), options);
  if (!status.ok() || options.data_file != word) {
    FuzzFinding(absl::StrCat("a value is not what was escaped: ",
                             options.data_file, " ", status.ToString()));
  }
}

}  // namespace

void FuzzToolOptions(const uint8_t* data, size_t size) {
  const std::string text(data, data + size);
  const std::vector<std::string> words = absl::StrSplit(text, '\0');
  for (const std::string& word : words) {
    FuzzSize(word);
    FuzzKeys(word);
  }
  for (const auto rule :
       {tool::OperandRule::kMixed, tool::OperandRule::kNumbers,
        tool::OperandRule::kStop}) {
    const auto arguments = tool::ParseArguments(words, kOptions, rule);
    if (!arguments.ok() && arguments.status().message().empty()) {
      FuzzFinding("an error without text");
    }
    if (arguments.ok() && arguments->operands().size() > words.size()) {
      FuzzFinding("operands out of nowhere");
    }
  }
}

}  // namespace flatcow
