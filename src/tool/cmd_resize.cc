// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/strip.h"
#include "command.h"
#include "common_options.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "size.h"

namespace flatcow::tool {
namespace {

constexpr absl::string_view kVerb = "resize";

constexpr OptionSpec kOptions[] = {
    kQuietOption,
    kFormatOption,
    {'\0', "shrink", nullptr,
     "allow a smaller size: what lies behind it is lost"},
};

// "64M", "+64M" or "-64M".
absl::Status ParseNewSize(absl::string_view text, ResizeOptions& options) {
  absl::string_view number = text;
  if (absl::ConsumePrefix(&number, "+")) {
    options.how = ResizeOptions::How::kBy;
  } else if (absl::ConsumePrefix(&number, "-")) {
    options.how = ResizeOptions::How::kDownBy;
  }
  const absl::StatusOr<uint64_t> bytes = ParseSize(number);
  if (!bytes.ok()) return bytes.status();
  options.bytes = *bytes;
  return absl::OkStatus();
}

absl::StatusOr<int> RunResize(const ParsedArguments& arguments,
                              const Streams& streams) {
  const absl::Status operands =
      CheckOperands(kVerb, arguments, {"FILE", "SIZE"});
  if (!operands.ok()) return operands;
  const std::string& file = arguments.operands()[0];
  ResizeOptions options;
  options.format = arguments.Value("format").value_or("");
  options.shrink = arguments.Has("shrink");
  const absl::Status parsed = ParseNewSize(arguments.operands()[1], options);
  if (!parsed.ok()) return Annotate(parsed, file);

  const absl::StatusOr<uint64_t> size =
      ResizeImage(PosixFileSystem(), file, options);
  if (!size.ok()) return size.status();
  if (!arguments.Has("quiet")) streams.out << "Image resized.\n";
  return 0;
}

}  // namespace

const Command kResizeCommand = {kVerb,
                                "change the size of a disk",
                                "[-q] [-f FMT] [--shrink] FILE [+|-]SIZE",
                                kOptions,
                                RunResize,
                                /*error_code=*/1,
                                OperandRule::kNumbers};

}  // namespace flatcow::tool
