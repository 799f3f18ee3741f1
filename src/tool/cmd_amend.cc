// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "amend_keys.h"
#include "command.h"
#include "common_options.h"
#include "flatcow/file.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "output.h"

namespace flatcow::tool {
namespace {

constexpr absl::string_view kVerb = "amend";

constexpr OptionSpec kOptions[] = {
    kQuietOption,
    kFormatOption,
    {'o', "options", "KEY=VALUE,...",
     "what to change; -o help lists the keys of FMT"},
};

// Of -f, or what the magic of the file says.
absl::StatusOr<std::string> FormatOf(const ParsedArguments& arguments) {
  if (arguments.Has("format")) return *arguments.Value("format");
  const absl::StatusOr<std::string> file = SingleFile(kVerb, arguments);
  if (!file.ok()) return file.status();
  const absl::StatusOr<std::unique_ptr<File>> opened =
      PosixFileSystem().Open(*file, Access::kReadOnly);
  if (!opened.ok()) return opened.status();
  return ProbeFormat(**opened);
}

absl::StatusOr<int> RunAmend(const ParsedArguments& arguments,
                             const Streams& streams) {
  const absl::StatusOr<std::string> format = FormatOf(arguments);
  if (!format.ok()) return format.status();
  const absl::StatusOr<absl::Span<const AmendKey>> keys = AmendKeys(*format);
  const std::vector<std::string> lists = arguments.Values("options");
  if (keys.ok() && std::any_of(lists.begin(), lists.end(), AsksForKeys)) {
    streams.out << KeysHelp(*format, *keys);
    return 0;
  }
  const absl::StatusOr<std::string> file = SingleFile(kVerb, arguments);
  if (!file.ok()) return file.status();
  if (!keys.ok()) return Annotate(keys.status(), *file);
  if (lists.empty()) {
    return UsageError(kVerb, "nothing to change was named: -o KEY=VALUE");
  }
  AmendOptions options;
  options.format = *format;
  for (const std::string& list : lists) {
    const absl::Status status = StoreKeyList(list, *format, *keys, options);
    if (!status.ok()) return Annotate(status, *file);
  }
  const absl::StatusOr<AmendResult> result =
      AmendImage(PosixFileSystem(), *file, options);
  if (!result.ok()) return result.status();
  PrintWarnings(streams, result->warnings);
  return 0;
}

}  // namespace

const Command kAmendCommand = {
    kVerb, "change what an image records: file names, layout",
    "[-q] [-f FMT] -o OPTS FILE", kOptions, RunAmend};

}  // namespace flatcow::tool
