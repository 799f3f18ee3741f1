// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "command.h"
#include "common_options.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "output.h"
#include "size.h"
#include "target_options.h"
#include "work.h"

namespace flatcow::tool {
namespace {

constexpr absl::string_view kVerb = "convert";

constexpr int kMostParallel = 64;
constexpr uint64_t kSector = 512;
constexpr uint64_t kLongestSparse = uint64_t{16} << 20;

constexpr OptionSpec kOptions[] = {
    kProgressOption,
    kQuietOption,
    kFormatOption,
    kTargetFormatOption,
    kKeysOption,
    {'S', "sparse-size", "SIZE",
     "leave out zeroes in runs of that length (default: 4k; 0: write all)"},
    {'B', "backing", "NAME",
     "backing file of OUT: only what differs from it is written"},
    kBackingFormatOption,
    {'n', "no-create", nullptr, "write into OUT, which exists"},
    kForceShareOption,
    {'m', "parallel", "COUNT",
     "pieces under way at once, 1 to 64 (default: 8)"},
    {'\0', "force", nullptr, "overwrite OUT if it exists"},
};

absl::Status ParseParallel(const ParsedArguments& arguments, int& parallel) {
  const std::optional<std::string> text = arguments.Value("parallel");
  if (!text.has_value()) return absl::OkStatus();
  if (absl::SimpleAtoi(*text, &parallel) && parallel >= 1 &&
      parallel <= kMostParallel) {
    return absl::OkStatus();
  }
  return UsageError(kVerb, absl::StrCat("-m must be a number from 1 to ",
                                        kMostParallel, ", not '", *text, "'"));
}

absl::Status ParseSparse(const ParsedArguments& arguments, uint64_t& bytes) {
  const std::optional<std::string> text = arguments.Value("sparse-size");
  if (!text.has_value()) return absl::OkStatus();
  const absl::StatusOr<uint64_t> size = ParseSize(*text);
  if (!size.ok()) {
    return UsageError(kVerb, absl::StrCat("-S: ", size.status().message()));
  }
  if (*size % kSector != 0 || *size > kLongestSparse) {
    return UsageError(
        kVerb, absl::StrCat("-S must be 0 or a multiple of ", kSector,
                            " up to ", kLongestSparse, ", not '", *text, "'"));
  }
  bytes = *size;
  return absl::OkStatus();
}

// What -n leaves no room for.
absl::Status CheckNoCreate(const ParsedArguments& arguments) {
  for (const OptionSpec& option : kOptions) {
    const absl::string_view name = option.name;
    if (name != "options" && name != "backing" && name != "backing-format" &&
        name != "force") {
      continue;
    }
    if (arguments.Has(name)) {
      return UsageError(kVerb, absl::StrCat("-n makes no image: it can't go "
                                            "with --",
                                            name));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ConvertOptions> ParseOptions(const ParsedArguments& arguments) {
  ConvertOptions options;
  options.format = arguments.Value("format").value_or("");
  options.share_writes = arguments.Has("force-share");
  options.create_target = !arguments.Has("no-create");
  absl::Status status = ParseParallel(arguments, options.work.parallel);
  if (!status.ok()) return status;
  status = ParseSparse(arguments, options.sparse_bytes);
  if (!status.ok()) return status;

  const std::optional<std::string> format = arguments.Value("output-format");
  if (!options.create_target) {
    options.target.format = format.value_or("");
    status = CheckNoCreate(arguments);
    if (!status.ok()) return status;
    return options;
  }
  const absl::StatusOr<CreateOptions> target =
      ParseTarget(arguments, format.value_or("raw"));
  if (!target.ok()) return target.status();
  options.target = *target;
  options.target.force = arguments.Has("force");
  return options;
}

// What an interruption leaves.
std::string WorthOf(const std::string& source, const std::string& target) {
  std::error_code error;
  return absl::StrCat(
      source, " is untouched, and ",
      std::filesystem::exists(target, error)
          ? "this file is part old, part new: run the command again"
          : "this file was removed");
}

absl::StatusOr<int> RunConvert(const ParsedArguments& arguments,
                               const Streams& streams) {
  const absl::StatusOr<std::string> help = AnswerAboutKeys(
      arguments, arguments.Value("output-format").value_or("raw"));
  if (!help.ok()) return help.status();
  if (!help->empty()) {
    streams.out << *help;
    return 0;
  }
  const absl::Status operands =
      CheckOperands(kVerb, arguments, {"FILE", "OUT"});
  if (!operands.ok()) return operands;
  const std::string& source = arguments.operands()[0];
  const std::string& target = arguments.operands()[1];
  absl::StatusOr<ConvertOptions> options = ParseOptions(arguments);
  if (!options.ok()) return options.status();

  Work work(arguments, streams);
  options->work.progress = work.Options().progress;
  const absl::StatusOr<ConvertResult> result =
      ConvertImage(PosixFileSystem(), source, target, *options);
  const absl::Status status =
      work.End(result.status(), target, WorthOf(source, target));
  if (!status.ok()) return status;
  PrintWarnings(streams, result->warnings);
  return 0;
}

}  // namespace

const Command kConvertCommand = {
    kVerb, "copy what a disk shows to a new image",
    "[-p] [-q] [-f FMT] [-O FMT] [-o OPTS] [-S SIZE] [-B BACKING [-F FMT]] "
    "[-n] [-U] [-m COUNT] [--force] FILE OUT",
    kOptions, RunConvert};

}  // namespace flatcow::tool
