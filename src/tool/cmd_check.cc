// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cstdint>
#include <ostream>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "command.h"
#include "common_options.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "flatcow/printable.h"
#include "flatcow/status.h"
#include "output.h"

namespace flatcow::tool {
namespace {

constexpr absl::string_view kVerb = "check";

// Exit codes, qemu-img's.
constexpr int kClean = 0;
constexpr int kCheckFailed = 1;
constexpr int kCorrupt = 2;
constexpr int kLeaks = 3;
constexpr int kNotSupported = 63;

constexpr OptionSpec kOptions[] = {
    kQuietOption,
    kFormatOption,
    {'r', "repair", "leaks|all", "repair leaked clusters only, or everything"},
    kForceShareOption,
    kOutputOption,
};

absl::StatusOr<Repair> GetRepair(const ParsedArguments& arguments) {
  const std::string word = arguments.Value("repair").value_or("none");
  if (word == "leaks") return Repair::kLeaks;
  if (word == "all") return Repair::kAll;
  if (!arguments.Has("repair")) return Repair::kNone;
  return UsageError(kVerb,
                    absl::StrCat("-r must be leaks or all, not '", word, "'"));
}

int ExitCode(const CheckResult& result) {
  if (result.check_errors != 0) return kCheckFailed;
  if (result.corruptions != 0) return kCorrupt;
  if (result.leaks != 0) return kLeaks;
  return kClean;
}

// qemu-img's keys in its order, counts of zero left out as it does; `changed`
// is ours.
Json ToJson(const std::string& file, const CheckResult& result) {
  Json json = Json::object();
  const auto add = [&json](const char* key, uint64_t count) {
    if (count != 0) json[key] = count;
  };
  add("image-end-offset", result.image_end_offset);
  add("total-clusters", result.total_clusters);
  add("corruptions", result.corruptions);
  add("corruptions-fixed", result.corruptions_fixed);
  json["check-errors"] = result.check_errors;
  add("leaks-fixed", result.leaks_fixed);
  add("leaks", result.leaks);
  add("allocated-clusters", result.allocated_clusters);
  json["filename"] = file;
  json["format"] = result.format;
  add("fragmented-clusters", result.fragmented_clusters);
  if (!result.changed.empty()) json["changed"] = result.changed;
  return json;
}

void PrintRepaired(std::ostream& out, const CheckResult& result) {
  if (result.leaks_fixed != 0 || result.corruptions_fixed != 0) {
    out << "The following inconsistencies were found and repaired:\n\n"
        << "    " << result.leaks_fixed << " leaked clusters\n"
        << "    " << result.corruptions_fixed << " corruptions\n\n";
  }
  if (!result.changed.empty()) {
    out << "Changed by the repair:\n\n";
    for (const std::string& range : result.changed) {
      out << "    " << Printable(range) << '\n';
    }
    out << '\n';
  }
  if (result.leaks_fixed != 0 || result.corruptions_fixed != 0) {
    out << "Double checking the fixed image now...\n";
  }
}

void PrintHuman(std::ostream& out, const CheckResult& result) {
  PrintRepaired(out, result);
  if (ExitCode(result) == kClean) {
    out << "No errors were found on the image.\n";
  }
  if (result.corruptions != 0) {
    out << '\n'
        << result.corruptions
        << " errors were found on the image.\n"
           "Data may be corrupted, or further writes to the image may corrupt "
           "it.\n";
  }
  if (result.leaks != 0) {
    out << '\n'
        << result.leaks
        << " leaked clusters were found on the image.\n"
           "This means waste of disk space, but no harm to data.\n";
  }
  if (result.check_errors != 0) {
    out << '\n'
        << result.check_errors
        << " internal errors have occurred during the check.\n";
  }
  if (result.total_clusters != 0 && result.allocated_clusters != 0) {
    const auto total = static_cast<double>(result.total_clusters);
    const auto allocated = static_cast<double>(result.allocated_clusters);
    const auto fragmented = static_cast<double>(result.fragmented_clusters);
    out << absl::StrFormat(
        "%d/%d = %0.2f%% allocated, %0.2f%% fragmented, 0.00%% compressed "
        "clusters\n",
        result.allocated_clusters, result.total_clusters,
        allocated * 100 / total, fragmented * 100 / allocated);
  }
  if (result.image_end_offset != 0) {
    out << "Image end offset: " << result.image_end_offset << '\n';
  }
}

// What can't be checked when ENOTSUP is about that, and not about a feature of
// the image; else empty.
std::string Unchecked(const std::string& file, const CheckOptions& check) {
  InfoOptions options;
  options.format = check.format;
  options.share_writes = check.share_writes;
  const absl::StatusOr<ImageInfo> info =
      ReadImageInfo(PosixFileSystem(), file, options);
  if (!info.ok()) return "";
  if (info->format == "raw") {
    return "format raw has nothing that could be checked";
  }
  if (info->format == "qcow2" && !info->data_file.has_value()) {
    return "format qcow2 is checked only where the clusters are in an external "
           "data file: use qemu-img check";
  }
  return "";
}

absl::StatusOr<int> RunCheck(const ParsedArguments& arguments,
                             const Streams& streams) {
  const absl::StatusOr<std::string> file = SingleFile(kVerb, arguments);
  if (!file.ok()) return file.status();
  const absl::StatusOr<OutputFormat> output = GetOutputFormat(kVerb, arguments);
  if (!output.ok()) return output.status();
  const absl::StatusOr<Repair> repair = GetRepair(arguments);
  if (!repair.ok()) return repair.status();
  CheckOptions options;
  options.format = arguments.Value("format").value_or("");
  options.repair = *repair;
  options.share_writes = arguments.Has("force-share");
  if (options.share_writes && options.repair != Repair::kNone) {
    return UsageError(kVerb, "-U only reads: it can't go with -r");
  }

  const absl::StatusOr<CheckResult> result =
      CheckImage(PosixFileSystem(), *file, options);
  if (!result.ok()) {
    if (ErrnoOf(result.status()) != ENOTSUP) return result.status();
    const std::string unchecked = Unchecked(*file, options);
    if (unchecked.empty()) return result.status();
    streams.err << "flatcow-img: check: " << Printable(*file) << ": "
                << unchecked << '\n';
    return kNotSupported;
  }
  PrintWarnings(streams, result->warnings);
  for (const std::string& problem : result->problems) {
    streams.err << "flatcow-img: check: " << Printable(*file) << ": "
                << Printable(problem) << '\n';
  }
  if (!arguments.Has("quiet")) {
    if (*output == OutputFormat::kJson) {
      PrintJson(streams.out, ToJson(*file, *result));
    } else {
      PrintHuman(streams.out, *result);
    }
  }
  return ExitCode(*result);
}

}  // namespace

const Command kCheckCommand = {
    kVerb, "look for damage and leaked clusters, and repair them",
    "[-q] [-f FMT] [-r leaks|all] [--output=human|json] [-U] FILE", kOptions,
    RunCheck};

}  // namespace flatcow::tool
