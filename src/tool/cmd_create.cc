// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "command.h"
#include "common_options.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "flatcow/printable.h"
#include "flatcow/status.h"
#include "key_list.h"
#include "output.h"
#include "size.h"
#include "target_options.h"

namespace flatcow::tool {
namespace {

constexpr absl::string_view kVerb = "create";

constexpr OptionSpec kOptions[] = {
    kQuietOption,
    {'f', "format", "FMT", kTargetFormatOption.help},
    {'b', "backing", "NAME", "backing file, as -o backing_file="},
    kBackingFormatOption,
    {'u', "backing-unsafe", nullptr,
     "do not open the backing file (needs -F and SIZE)"},
    kKeysOption,
    {'\0', "force", nullptr, "overwrite FILE if it exists"},
};

// qemu-img's line, with its keys in its order: for qcow2 the cluster size comes
// first. The keys that only add-cow has stand behind those of the backing file.
std::string FormattedLine(const std::string& file, const CreateOptions& options,
                          const CreateResult& result) {
  std::string line =
      absl::StrCat("Formatting '", file, "', fmt=", options.format);
  const auto add = [&line](absl::string_view key, absl::string_view value) {
    absl::StrAppend(&line, " ", key, "=", EscapeCommas(value));
  };
  const bool qcow2 = options.format == "qcow2";
  if (qcow2) add("cluster_size", absl::StrCat(result.cluster_size));
  add("size", absl::StrCat(result.size));
  if (!options.backing_file.empty()) {
    add("backing_file", options.backing_file);
    add("backing_fmt", result.backing_format);
  }
  if (options.format == "add-cow") {
    add("image_file", options.data_file);
    add("image_fmt", options.data_format.empty() ? "raw" : options.data_format);
  }
  if (qcow2) {
    add("data_file", options.data_file);
    if (options.data_file_raw) add("data_file_raw", "on");
    add("refcount_bits",
        absl::StrCat(options.refcount_bits == 0 ? Qcow2Info().refcount_bits
                                                : options.refcount_bits));
  } else if (result.cluster_size != 0) {
    add("cluster_size", absl::StrCat(result.cluster_size));
  }
  if (options.table_size != 0) {
    add("table_size", absl::StrCat(options.table_size));
  }
  return line;
}

absl::StatusOr<int> RunCreate(const ParsedArguments& arguments,
                              const Streams& streams) {
  const std::string format = arguments.Value("format").value_or("raw");
  const absl::StatusOr<std::string> help = AnswerAboutKeys(arguments, format);
  if (!help.ok()) return help.status();
  if (!help->empty()) {
    streams.out << *help;
    return 0;
  }

  const std::vector<std::string>& operands = arguments.operands();
  if (operands.empty()) return UsageError(kVerb, "no image file was named");
  if (operands.size() > 2) {
    return UsageError(kVerb,
                      absl::StrCat("unexpected argument '", operands[2], "'"));
  }
  const std::string& file = operands[0];
  absl::StatusOr<CreateOptions> options = ParseTarget(arguments, format);
  if (!options.ok()) return Annotate(options.status(), file);
  options->unsafe_backing = arguments.Has("backing-unsafe");
  options->force = arguments.Has("force");
  if (operands.size() == 2) {
    const absl::StatusOr<uint64_t> size = ParseSize(operands[1]);
    if (!size.ok()) return Annotate(size.status(), file);
    options->size = *size;
  }

  const absl::StatusOr<CreateResult> result =
      CreateImage(PosixFileSystem(), file, *options);
  if (!result.ok()) return result.status();
  PrintWarnings(streams, result->warnings);
  if (!arguments.Has("quiet")) {
    streams.out << Printable(FormattedLine(file, *options, *result)) << '\n';
  }
  return 0;
}

}  // namespace

const Command kCreateCommand = {
    kVerb, "make an image",
    "[-q] [-f FMT] [-b BACKING [-F FMT]] [-u] [-o OPTS] [--force] FILE [SIZE]",
    kOptions, RunCreate};

}  // namespace flatcow::tool
