// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "command.h"
#include "common_options.h"
#include "display_name.h"
#include "flatcow/file.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "flatcow/printable.h"
#include "output.h"
#include "size.h"

namespace flatcow::tool {
namespace {

constexpr absl::string_view kVerb = "info";

constexpr OptionSpec kOptions[] = {
    kFormatOption,
    kForceShareOption,
    {'\0', "backing-chain", nullptr, "show the backing files as well"},
    kOutputOption,
};

// qemu-img's keys in its order.
Json ToJson(const std::string& name, const ImageInfo& info) {
  Json json = Json::object();
  if (info.backing.has_value() && !info.backing->format.empty()) {
    json["backing-filename-format"] = info.backing->format;
  }
  json["virtual-size"] = info.virtual_size;
  json["filename"] = name;
  if (info.cluster_size != 0) json["cluster-size"] = info.cluster_size;
  json["format"] = info.format;
  json["actual-size"] = info.allocated_bytes;
  if (info.data_file.has_value()) {
    json["format-specific"] = {{"type", info.format},
                               {"data",
                                {{"image-file", info.data_file->name},
                                 {"image-file-format", info.data_file->format},
                                 {"all-allocated", info.all_allocated}}}};
  }
  if (info.backing.has_value()) {
    json["full-backing-filename"] = DisplayName(name, *info.backing);
    json["backing-filename"] = info.backing->name;
  }
  json["dirty-flag"] = info.needs_check;
  return json;
}

void PrintHuman(std::ostream& out, const std::string& name,
                const ImageInfo& info) {
  out << "image: " << Printable(name) << '\n'
      << "file format: " << info.format << '\n'
      << "virtual size: " << HumanSize(info.virtual_size) << " ("
      << info.virtual_size << " bytes)\n"
      << "disk size: " << HumanSize(info.allocated_bytes) << '\n';
  if (info.cluster_size != 0) {
    out << "cluster_size: " << info.cluster_size << '\n';
  }
  if (info.needs_check) out << "cleanly shut down: no\n";
  if (info.backing.has_value()) {
    const ImageLink& backing = *info.backing;
    out << "backing file: " << Printable(backing.name);
    const std::string path = DisplayName(name, backing);
    if (path != backing.name) {
      out << " (actual path: " << Printable(path) << ')';
    }
    out << '\n';
    if (!backing.format.empty()) {
      out << "backing file format: " << Printable(backing.format) << '\n';
    }
  }
  if (info.data_file.has_value()) {
    out << "Format specific information:\n"
        << "    image file: " << Printable(info.data_file->name) << '\n'
        << "    image file format: " << Printable(info.data_file->format)
        << '\n'
        << "    all allocated: " << (info.all_allocated ? "true" : "false")
        << '\n';
  }
}

void PrintChain(std::ostream& out, const std::string& file,
                const std::vector<ImageInfo>& chain, OutputFormat output) {
  const std::vector<std::string> names = DisplayNames(file, chain);
  Json array = Json::array();
  for (size_t i = 0; i < chain.size(); ++i) {
    if (output == OutputFormat::kJson) {
      array.push_back(ToJson(names[i], chain[i]));
    } else {
      if (i > 0) out << '\n';
      PrintHuman(out, names[i], chain[i]);
    }
  }
  if (output == OutputFormat::kJson) PrintJson(out, array);
}

absl::StatusOr<int> RunInfo(const ParsedArguments& arguments,
                            const Streams& streams) {
  const absl::StatusOr<std::string> file = SingleFile(kVerb, arguments);
  if (!file.ok()) return file.status();
  const absl::StatusOr<OutputFormat> output = GetOutputFormat(kVerb, arguments);
  if (!output.ok()) return output.status();
  InfoOptions options;
  options.format = arguments.Value("format").value_or("");
  options.share_writes = arguments.Has("force-share");

  if (arguments.Has("backing-chain")) {
    const absl::StatusOr<std::vector<ImageInfo>> chain =
        ReadChainInfo(PosixFileSystem(), *file, options);
    if (!chain.ok()) return chain.status();
    PrintChain(streams.out, *file, *chain, *output);
    return 0;
  }
  const absl::StatusOr<ImageInfo> info =
      ReadImageInfo(PosixFileSystem(), *file, options);
  if (!info.ok()) return info.status();
  if (*output == OutputFormat::kJson) {
    PrintJson(streams.out, ToJson(*file, *info));
  } else {
    PrintHuman(streams.out, *file, *info);
  }
  return 0;
}

}  // namespace

const Command kInfoCommand = {
    kVerb, "show what an image says about itself",
    "[-f FMT] [-U] [--backing-chain] [--output=human|json] FILE", kOptions,
    RunInfo};

}  // namespace flatcow::tool
