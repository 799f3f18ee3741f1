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

constexpr absl::string_view kVerb = "commit";

constexpr OptionSpec kOptions[] = {
    kProgressOption,
    kQuietOption,
    kFormatOption,
    {'b', "base", "NAME",
     "image of the chain to write to (default: the backing file)"},
    {'d', "keep", nullptr, "do not empty FILE afterwards"},
};

absl::StatusOr<int> RunCommit(const ParsedArguments& arguments,
                              const Streams& streams) {
  const absl::StatusOr<std::string> file = SingleFile(kVerb, arguments);
  if (!file.ok()) return file.status();
  Work work(arguments, streams);
  CommitOptions options;
  options.format = arguments.Value("format").value_or("");
  options.base = arguments.Value("base").value_or("");
  options.keep = arguments.Has("keep");
  options.work = work.Options();

  const absl::StatusOr<CommitResult> result =
      CommitImage(PosixFileSystem(), *file, options);
  const absl::Status status = work.End(result.status(), *file, kSameDisk);
  if (!status.ok()) return status;
  PrintWarnings(streams, result->warnings);
  if (!arguments.Has("quiet")) streams.out << "Image committed.\n";
  return 0;
}

}  // namespace

const Command kCommitCommand = {
    kVerb, "write what an overlay holds into its backing file",
    "[-p] [-q] [-f FMT] [-b BASE] [-d] FILE", kOptions, RunCommit};

}  // namespace flatcow::tool
