// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "command.h"
#include "common_options.h"
#include "exit_code.h"
#include "flatcow/file.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "output.h"
#include "work.h"

namespace flatcow::tool {
namespace {

constexpr absl::string_view kVerb = "compare";

// Exit codes, qemu-img's.
constexpr int kSame = 0;
constexpr int kDifferent = 1;
constexpr int kError = 2;
constexpr int kMapFailed = 3;
constexpr int kReadFailed = 4;

constexpr OptionSpec kOptions[] = {
    kProgressOption,
    kQuietOption,
    {'s', "strict", nullptr,
     "sizes and what is allocated must be the same too"},
    {'f', "format", "FMT", "format of FILE1 (default: found by its magic)"},
    {'F', "second-format", "FMT",
     "format of FILE2 (default: found by its magic)"},
    {'U', "force-share", nullptr,
     "read the files beside programs that write to them"},
};

absl::StatusOr<std::unique_ptr<Image>> Open(const std::string& file,
                                            absl::string_view format_option,
                                            const ParsedArguments& arguments,
                                            const Streams& streams) {
  OpenOptions options;
  options.format = arguments.Value(format_option).value_or("");
  options.share_writes = arguments.Has("force-share");
  absl::StatusOr<std::unique_ptr<Image>> image =
      OpenImage(PosixFileSystem(), file, options);
  if (image.ok()) PrintWarnings(streams, (*image)->Warnings());
  return image;
}

// qemu-img's lines. `common` is the size of the shorter disk; that the other is
// longer is told when it matters.
std::string Describe(const CompareResult& result, uint64_t common) {
  using Outcome = CompareResult::Outcome;
  const bool reached =
      result.outcome == Outcome::kSame || result.offset >= common;
  const char* const sizes =
      result.sizes_differ && reached ? "Warning: Image size mismatch!\n" : "";
  switch (result.outcome) {
    case Outcome::kSame:
      return absl::StrCat(sizes, "Images are identical.\n");
    case Outcome::kContentDiffers:
      return absl::StrCat(sizes, "Content mismatch at offset ", result.offset,
                          "!\n");
    case Outcome::kSizeDiffers:
      return "Strict mode: Image size mismatch!\n";
    case Outcome::kAllocationDiffers:
      return absl::StrCat("Strict mode: Offset ", result.offset,
                          " block status mismatch!\n");
    case Outcome::kMapFailed:
    case Outcome::kReadFailed:
      break;
  }
  return "";
}

absl::StatusOr<int> RunCompare(const ParsedArguments& arguments,
                               const Streams& streams) {
  const absl::Status operands =
      CheckOperands(kVerb, arguments, {"FILE1", "FILE2"});
  if (!operands.ok()) return operands;
  const std::string& file = arguments.operands()[0];
  const auto first = Open(file, "format", arguments, streams);
  if (!first.ok()) return first.status();
  const auto second =
      Open(arguments.operands()[1], "second-format", arguments, streams);
  if (!second.ok()) return second.status();

  Work work(arguments, streams);
  CompareOptions options;
  options.strict = arguments.Has("strict");
  options.work = work.Options();
  const absl::StatusOr<CompareResult> result =
      CompareImages(**first, **second, options);
  const absl::Status status =
      work.End(result.status(), file, "nothing was changed");
  if (!status.ok()) return status;
  if (!result->error.ok()) {
    const bool map = result->outcome == CompareResult::Outcome::kMapFailed;
    return WithExitCode(result->error, map ? kMapFailed : kReadFailed);
  }
  if (!arguments.Has("quiet")) {
    streams.out << Describe(*result,
                            std::min((*first)->Size(), (*second)->Size()));
  }
  return result->outcome == CompareResult::Outcome::kSame ? kSame : kDifferent;
}

}  // namespace

const Command kCompareCommand = {
    kVerb,
    "tell whether two disks show the same",
    "[-p] [-q] [-s] [-f FMT] [-F FMT] [-U] FILE1 FILE2",
    kOptions,
    RunCompare,
    kError};

}  // namespace flatcow::tool
