// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "command.h"
#include "common_options.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "output.h"
#include "size.h"
#include "target_options.h"

namespace flatcow::tool {
namespace {

constexpr absl::string_view kVerb = "measure";

constexpr OptionSpec kOptions[] = {
    kFormatOption,
    kForceShareOption,
    kTargetFormatOption,
    kKeysOption,
    {'\0', "size", "SIZE", "measure a new disk of that size instead of FILE"},
    kOutputOption,
};

absl::StatusOr<Measurement> MeasureNew(const std::string& size,
                                       const ParsedArguments& arguments,
                                       CreateOptions target) {
  if (!arguments.operands().empty()) {
    return UsageError(kVerb, "either FILE or --size can be given, not both");
  }
  const absl::StatusOr<uint64_t> bytes = ParseSize(size);
  if (!bytes.ok()) return Annotate(bytes.status(), "--size");
  target.size = *bytes;
  return MeasureNewImage(target);
}

absl::StatusOr<Measurement> Measure(const ParsedArguments& arguments,
                                    const CreateOptions& target) {
  const std::optional<std::string> size = arguments.Value("size");
  if (size.has_value()) return MeasureNew(*size, arguments, target);
  const absl::StatusOr<std::string> file = SingleFile(kVerb, arguments);
  if (!file.ok()) return file.status();
  MeasureOptions options;
  options.format = arguments.Value("format").value_or("");
  options.share_writes = arguments.Has("force-share");
  options.target = target;
  return MeasureImage(PosixFileSystem(), *file, options);
}

absl::StatusOr<int> RunMeasure(const ParsedArguments& arguments,
                               const Streams& streams) {
  const std::string format = arguments.Value("output-format").value_or("raw");
  const absl::StatusOr<std::string> help = AnswerAboutKeys(arguments, format);
  if (!help.ok()) return help.status();
  if (!help->empty()) {
    streams.out << *help;
    return 0;
  }
  const absl::StatusOr<OutputFormat> output = GetOutputFormat(kVerb, arguments);
  if (!output.ok()) return output.status();
  const absl::StatusOr<CreateOptions> target = ParseTarget(arguments, format);
  if (!target.ok()) return target.status();

  const absl::StatusOr<Measurement> result = Measure(arguments, *target);
  if (!result.ok()) return result.status();
  if (*output == OutputFormat::kJson) {
    Json json = Json::object();
    json["required"] = result->required;
    json["fully-allocated"] = result->fully_allocated;
    PrintJson(streams.out, json);
  } else {
    streams.out << "required size: " << result->required
                << "\nfully allocated size: " << result->fully_allocated
                << '\n';
  }
  return 0;
}

}  // namespace

const Command kMeasureCommand = {
    kVerb, "tell how much space a converted disk would take",
    "[-f FMT] [-U] [-O FMT] [-o OPTS] [--output=human|json] FILE | --size=SIZE",
    kOptions, RunMeasure};

}  // namespace flatcow::tool
