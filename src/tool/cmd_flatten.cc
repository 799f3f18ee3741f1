// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "absl/status/statusor.h"
#include "command.h"
#include "common_options.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "flatcow/printable.h"
#include "output.h"
#include "work.h"

namespace flatcow::tool {
namespace {

constexpr absl::string_view kVerb = "flatten";

constexpr OptionSpec kOptions[] = {
    kProgressOption,
    kQuietOption,
    kFormatOption,
};

bool HasRawImageFile(const std::string& file, const std::string& format) {
  const auto info =
      ReadImageInfo(PosixFileSystem(), file, {.format = format, .lock = false});
  return info.ok() && info->data_file.has_value() &&
         info->data_file->format == "raw";
}

absl::StatusOr<int> RunFlatten(const ParsedArguments& arguments,
                               const Streams& streams) {
  const absl::StatusOr<std::string> file = SingleFile(kVerb, arguments);
  if (!file.ok()) return file.status();
  Work work(arguments, streams);
  FlattenOptions options;
  options.format = arguments.Value("format").value_or("");
  options.work = work.Options();

  const absl::StatusOr<FlattenResult> result =
      FlattenImage(PosixFileSystem(), *file, options);
  const absl::Status status = work.End(result.status(), *file, kSameDisk);
  if (!status.ok()) return status;
  PrintWarnings(streams, result->warnings);
  if (arguments.Has("quiet")) return 0;
  streams.out << "Image flattened: it needs no backing file.\n";
  if (!result->data_file.empty()) {
    streams.out << "The image file " << Printable(result->data_file)
                << (HasRawImageFile(*file, options.format)
                        ? " is the whole disk, a plain raw disk.\n"
                        : " is an image of the whole disk.\n");
  }
  return 0;
}

}  // namespace

const Command kFlattenCommand = {
    kVerb, "make all clusters the image's own, and drop its backing file",
    "[-p] [-q] [-f FMT] FILE", kOptions, RunFlatten};

}  // namespace flatcow::tool
