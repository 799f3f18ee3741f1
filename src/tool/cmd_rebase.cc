// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "absl/status/statusor.h"
#include "command.h"
#include "common_options.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "output.h"
#include "work.h"

namespace flatcow::tool {
namespace {

constexpr absl::string_view kVerb = "rebase";

constexpr OptionSpec kOptions[] = {
    kProgressOption,
    kQuietOption,
    kFormatOption,
    {'u', "unsafe", nullptr,
     "only record the name: what the disk shows may change"},
    {'b', "backing", "NAME", "new backing file; an empty name: none"},
    {'F', "backing-format", "FMT", "its format (default: found by its magic)"},
};

absl::StatusOr<int> RunRebase(const ParsedArguments& arguments,
                              const Streams& streams) {
  const absl::StatusOr<std::string> file = SingleFile(kVerb, arguments);
  if (!file.ok()) return file.status();
  if (!arguments.Has("backing")) {
    return UsageError(kVerb,
                      "no backing file was named: -b NAME, or -b '' for none");
  }
  RebaseOptions options;
  options.format = arguments.Value("format").value_or("");
  options.backing_file = *arguments.Value("backing");
  options.backing_format = arguments.Value("backing-format").value_or("");
  options.unsafe = arguments.Has("unsafe");
  if (options.backing_file.empty() && !options.backing_format.empty()) {
    return UsageError(kVerb, "-F needs a backing file (-b)");
  }
  Work work(arguments, streams);
  options.work = work.Options();

  const absl::StatusOr<RebaseResult> result =
      RebaseImage(PosixFileSystem(), *file, options);
  const absl::Status status = work.End(result.status(), *file, kSameDisk);
  if (!status.ok()) return status;
  PrintWarnings(streams, result->warnings);
  return 0;
}

}  // namespace

const Command kRebaseCommand = {
    kVerb, "put an overlay on another backing file",
    "[-p] [-q] [-f FMT] [-u] -b BACKING [-F FMT] FILE", kOptions, RunRebase};

}  // namespace flatcow::tool
