// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "command.h"
#include "common_options.h"
#include "display_name.h"
#include "flatcow/file.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "flatcow/printable.h"
#include "flatcow/status.h"
#include "map_runs.h"
#include "output.h"
#include "size.h"

namespace flatcow::tool {
namespace {

constexpr absl::string_view kVerb = "map";

constexpr OptionSpec kOptions[] = {
    kFormatOption,
    kForceShareOption,
    {'s', "start-offset", "OFFSET", "first byte of the disk to show"},
    {'l', "max-length", "LENGTH", "show at most that many bytes"},
    {'\0', "changed", nullptr, "show only what FILE itself holds"},
    kOutputOption,
};

// What map needs to know of the chain besides its segments.
struct Chain {
  std::vector<std::string> layer_names;
  std::vector<uint64_t> layer_sizes;
  // From a file's resolved path to the name to show for it.
  std::map<std::string, std::string> names;
};

void AddName(const std::string& name, Chain& chain) {
  std::error_code error;
  const std::filesystem::path resolved =
      std::filesystem::canonical(name, error);
  if (!error) chain.names.emplace(resolved.string(), name);
}

absl::StatusOr<Chain> ReadChain(const std::string& file,
                                const OpenOptions& open) {
  InfoOptions options;
  options.format = open.format;
  options.lock = false;  // the open image holds the locks
  const absl::StatusOr<std::vector<ImageInfo>> infos =
      ReadChainInfo(PosixFileSystem(), file, options);
  if (!infos.ok()) return infos.status();
  Chain chain;
  chain.layer_names = DisplayNames(file, *infos);
  for (size_t i = 0; i < infos->size(); ++i) {
    const ImageInfo& info = (*infos)[i];
    chain.layer_sizes.push_back(info.virtual_size);
    AddName(chain.layer_names[i], chain);
    if (info.data_file.has_value()) {
      AddName(DisplayName(chain.layer_names[i], *info.data_file), chain);
    }
  }
  return chain;
}

// Prints runs one by one, in either form.
class Printer {
 public:
  Printer(std::ostream& out, OutputFormat output, const std::string& file,
          const Chain& chain)
      : out_(out),
        json_(output == OutputFormat::kJson),
        file_(file),
        chain_(chain) {
    if (json_) {
      out_ << '[';
    } else {
      PrintRow("Offset", "Length", "Mapped to", "File");
    }
  }

  // Errors: ENOTSUP data that the human form has no place for, as in qemu-img.
  absl::Status Print(const MapRun& run) {
    if (json_) {
      PrintObject(run);
    } else if (run.segment.kind == Segment::Kind::kData) {
      if (!HasPlace(run.segment)) {
        return MakeError(
            ENOTSUP,
            absl::StrCat(file_, ": the ", run.segment.length, " bytes at ",
                         run.start, " are compressed in ",
                         chain_.layer_names[run.segment.depth],
                         ", so they have no place that could be shown; "
                         "--output=json shows them"));
      }
      PrintRow(Hex(run.start), Hex(run.segment.length),
               Hex(run.segment.host_offset), Printable(Name(run.segment.file)));
    }
    return absl::OkStatus();
  }

  // What qemu-img prints for an extent of no length.
  void PrintNothing(uint64_t start) {
    if (!json_) return;
    out_ << absl::StrFormat(
        "{ \"start\": %d, \"length\": 0, \"depth\": 0, \"present\": false, "
        "\"zero\": false, \"data\": false}",
        start);
  }

  void Finish() {
    if (json_) out_ << "]\n";
  }

 private:
  void PrintObject(const MapRun& run) {
    const Segment& segment = run.segment;
    const bool data = segment.kind == Segment::Kind::kData;
    out_ << (first_ ? "" : ",\n")
         << absl::StrFormat(
                "{ \"start\": %d, \"length\": %d, \"depth\": %d, "
                "\"present\": %s, \"zero\": %s, \"data\": %s",
                run.start, segment.length, segment.depth,
                Word(segment.allocated), Word(!data), Word(data));
    if (HasPlace(segment)) out_ << ", \"offset\": " << segment.host_offset;
    out_ << '}';
    first_ = false;
  }

  void PrintRow(absl::string_view start, absl::string_view length,
                absl::string_view host_offset, absl::string_view file) {
    out_ << absl::StrFormat("%-16s%-16s%-16s%s\n", start, length, host_offset,
                            file);
  }

  static bool HasPlace(const Segment& segment) {
    return segment.file != nullptr && segment.file->IsHostFile();
  }

  static const char* Word(bool value) { return value ? "true" : "false"; }

  static std::string Hex(uint64_t value) {
    return absl::StrFormat("%#x", value);
  }

  std::string Name(const File* file) const {
    if (file == nullptr) return "";
    const auto name = chain_.names.find(file->path());
    return name == chain_.names.end() ? file->path() : name->second;
  }

  std::ostream& out_;
  const bool json_;
  const std::string& file_;
  const Chain& chain_;
  bool first_ = true;
};

// The value of -s or -l.
absl::StatusOr<uint64_t> GetOffset(const ParsedArguments& arguments,
                                   absl::string_view name,
                                   uint64_t default_value) {
  const std::optional<std::string> text = arguments.Value(name);
  if (!text.has_value()) return default_value;
  const absl::StatusOr<uint64_t> value = ParseSize(*text);
  if (value.ok()) return value;
  return UsageError(kVerb,
                    absl::StrCat("--", name, ": ", value.status().message()));
}

// Nothing below the image has a say there.
bool HeldByImage(const Segment& segment) {
  return segment.allocated && segment.depth == 0;
}

absl::StatusOr<int> RunMap(const ParsedArguments& arguments,
                           const Streams& streams) {
  const absl::StatusOr<std::string> file = SingleFile(kVerb, arguments);
  if (!file.ok()) return file.status();
  const absl::StatusOr<OutputFormat> output = GetOutputFormat(kVerb, arguments);
  if (!output.ok()) return output.status();
  const absl::StatusOr<uint64_t> start =
      GetOffset(arguments, "start-offset", 0);
  if (!start.ok()) return start.status();
  const absl::StatusOr<uint64_t> length =
      GetOffset(arguments, "max-length", UINT64_MAX);
  if (!length.ok()) return length.status();
  OpenOptions options;
  options.format = arguments.Value("format").value_or("");
  options.share_writes = arguments.Has("force-share");

  const absl::StatusOr<std::unique_ptr<Image>> image =
      OpenImage(PosixFileSystem(), *file, options);
  if (!image.ok()) return image.status();
  PrintWarnings(streams, (*image)->Warnings());
  const absl::StatusOr<Chain> chain = ReadChain(*file, options);
  if (!chain.ok()) return chain.status();

  Extent extent;
  extent.offset = *start;
  const uint64_t size = (*image)->Size();
  if (*start < size) extent.length = std::min(*length, size - *start);
  Printer printer(streams.out, *output, *file, *chain);
  const bool changed = arguments.Has("changed");
  const auto print = [&printer, changed](const MapRun& run) {
    return !changed || HeldByImage(run.segment) ? printer.Print(run)
                                                : absl::OkStatus();
  };
  const absl::Status status =
      ForEachRun(**image, chain->layer_sizes, extent, print);
  if (!status.ok()) return status;
  if (extent.length == 0 && !changed) printer.PrintNothing(extent.offset);
  printer.Finish();
  return 0;
}

}  // namespace

const Command kMapCommand = {
    kVerb, "show where the bytes of a disk are",
    "[-f FMT] [-U] [-s OFFSET] [-l LENGTH] [--changed] [--output=human|json] "
    "FILE",
    kOptions, RunMap};

}  // namespace flatcow::tool
