// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_replace.h"
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

Json Qcow2Specific(const ImageInfo& info) {
  const Qcow2Info& qcow2 = *info.qcow2;
  const bool has_features = qcow2.version >= 3;
  Json data = Json::object();
  data["compat"] = has_features ? "1.1" : "0.10";
  data["compression-type"] = qcow2.compression_type;
  if (has_features) data["lazy-refcounts"] = qcow2.lazy_refcounts;
  data["refcount-bits"] = qcow2.refcount_bits;
  if (info.data_file.has_value()) {
    data["data-file"] = info.data_file->name;
    data["data-file-raw"] = qcow2.data_file_raw;
  }
  if (has_features) {
    data["corrupt"] = qcow2.corrupt;
    data["extended-l2"] = qcow2.extended_l2;
  }
  return data;
}

// What only images of this format have: qemu-img's keys in its order, if it
// knows the format. The human form has them with spaces for dashes.
Json FormatSpecific(const ImageInfo& info) {
  if (info.qcow2.has_value()) return Qcow2Specific(info);
  Json data = Json::object();
  if (info.data_file.has_value()) {
    data["image-file"] = info.data_file->name;
    data["image-file-format"] = info.data_file->format;
    data["all-allocated"] = info.all_allocated;
  }
  return data;
}

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
  if (Json data = FormatSpecific(info); !data.empty()) {
    json["format-specific"] = {{"type", info.format},
                               {"data", std::move(data)}};
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
  const Json data = FormatSpecific(info);
  if (!data.empty()) out << "Format specific information:\n";
  for (const auto& [key, value] : data.items()) {
    out << "    " << absl::StrReplaceAll(key, {{"-", " "}}) << ": "
        << (value.is_string() ? Printable(value.get<std::string>())
                              : value.dump())
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
