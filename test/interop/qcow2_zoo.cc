// SPDX-License-Identifier: Apache-2.0
#include "interop/qcow2_zoo.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "interop/qemu.h"
#include "model/disk_model.h"

namespace flatcow {
namespace {

constexpr uint64_t kSector = 512;
constexpr uint64_t kMostBytes = uint64_t{2} << 20;
constexpr uint64_t kMostWritten = 150 << 10;
constexpr int kPools = 3;

bool IsTooSmallForSubclusters(const Choice& choice) {
  return choice.dimension == "cluster_size" && std::stoul(choice.value) < 16384;
}

// Asked for each order of the two.
bool MayBeTogether(const Choice& a, const Choice& b) {
  if (a.Is("compat", "0.10")) {
    return !(b.dimension == "refcount_bits" && b.value != "16") &&
           !b.Is("compression", "zstd") && !b.Is("extended_l2", "on") &&
           !(b.dimension == "data" && b.value != "inside") &&
           !b.Is("bitmap", "yes") &&
           !(b.dimension == "end" && b.value != "closed");
  }
  // Two must be able to refer to a cluster.
  if (a.Is("snapshot", "yes")) return !b.Is("refcount_bits", "1");
  if (a.Is("extended_l2", "on")) return !IsTooSmallForSubclusters(b);
  if (a.dimension == "data" && a.value != "inside") {
    // QEMU refuses what would need a place of its own in the image.
    if (b.dimension == "compression" && b.value != "none") return false;
    if (b.Is("snapshot", "yes")) return false;
    return a.value != "raw" || b.dimension != "chain" || b.value == "none";
  }
  if (a.dimension == "preallocation" && a.value != "off") {
    // Compressed clusters take no place that is already there.
    if (b.dimension == "compression" && b.value != "none") return false;
    return b.dimension != "chain" || b.value == "none";
  }
  return true;
}

}  // namespace

CoveringPlan PlanOfReadImages() {
  std::vector<std::string> cluster_sizes;
  for (int bits = 9; bits <= 21; ++bits) {
    cluster_sizes.push_back(absl::StrCat(1 << bits));
  }
  return CoveringPlan(
      {
          {"compat", {"0.10", "1.1"}},
          {"cluster_size", cluster_sizes},
          {"refcount_bits", {"1", "2", "4", "8", "16", "32", "64"}},
          {"compression", {"none", "zlib", "zstd"}},
          {"extended_l2", {"off", "on"}},
          {"data", {"inside", "file", "raw"}},
          // Formats from the top down; the last word is how the sizes differ.
          {"chain",
           {"none", "raw", "raw_shorter", "raw_longer", "raw_odd", "qed",
            "qed_raw_shorter", "qcow2", "qcow2_shorter", "qcow2_longer",
            "qcow2_raw", "qcow2_qed_raw_odd", "qcow2_qcow2_qcow2_shorter"}},
          {"size", {"whole", "broken", "tiny"}},
          {"zeroes", {"none", "write", "unmap", "discard"}},
          {"snapshot", {"no", "yes"}},
          {"bitmap", {"no", "yes"}},
          {"preallocation", {"off", "metadata", "falloc"}},
          {"end", {"closed", "lazy", "aborted"}},
      },
      MayBeTogether);
}

void FeatureCount::Add(const Combination& combination) {
  ++combinations_;
  for (const auto& [dimension, value] : combination) {
    ++counts_[dimension][value];
  }
}

std::string FeatureCount::Print() const {
  std::string text = absl::StrCat(combinations_, " images\n");
  for (const auto& [dimension, values] : counts_) {
    absl::StrAppend(&text, "  ", dimension, ":");
    for (const auto& [value, count] : values) {
      absl::StrAppend(&text, " ", value, " ", count);
    }
    text += '\n';
  }
  return text;
}

Qcow2Builder::Qcow2Builder(const Combination& traits, uint64_t seed)
    : traits_(traits), random_(seed) {}

std::string Qcow2Builder::Build() {
  MakePools();
  const uint64_t size = SizeOfTop();
  Layer top = Top(size);
  for (const Layer& layer : LowerLayers(size)) {
    Make(layer);
    top.backing = layer.name;
    top.backing_format = layer.format;
  }
  MakeTop(top);
  return log_;
}

// So large that it has several L2 tables where clusters are small, and a few
// clusters where they are large.
uint64_t Qcow2Builder::SizeOfTop() {
  const uint64_t cluster = std::stoull(Trait("cluster_size"));
  if (Trait("size") == "tiny") return kSector * (1 + Random(16));
  uint64_t clusters = std::min<uint64_t>(kMostBytes / cluster, 400);
  clusters = std::max<uint64_t>(clusters / 2 + Random(clusters / 2 + 1), 2);
  uint64_t size = clusters * cluster;
  if (Trait("size") == "broken") {
    size += kSector * (1 + Random(std::max<uint64_t>(cluster / kSector, 2)));
  }
  return size;
}

Qcow2Builder::Layer Qcow2Builder::Top(uint64_t size) const {
  Layer top;
  top.name = "top";
  top.format = "qcow2";
  top.size = size;
  top.cluster_size = std::stoull(Trait("cluster_size"));
  // Many compressed clusters share one of the file, each of them twice with a
  // snapshot: QEMU does not take it when they can't be counted.
  top.compressed =
      Trait("compression") != "none" &&
      (Trait("snapshot") == "no" || std::stoi(Trait("refcount_bits")) >= 8);
  top.zeroes = Trait("zeroes");
  top.options = absl::StrCat("compat=", Trait("compat"),
                             ",cluster_size=", Trait("cluster_size"),
                             ",refcount_bits=", Trait("refcount_bits"));
  if (Trait("compression") != "none") {
    absl::StrAppend(&top.options, ",compression_type=", Trait("compression"));
  }
  if (Trait("extended_l2") == "on") top.options += ",extended_l2=on";
  if (Trait("data") != "inside") top.options += ",data_file=top.data";
  if (Trait("data") == "raw") top.options += ",data_file_raw=on";
  if (Trait("end") != "closed") top.options += ",lazy_refcounts=on";
  // With a raw data file QEMU has its own idea of preallocation.
  if (Trait("preallocation") != "off" && Trait("data") != "raw") {
    absl::StrAppend(&top.options, ",preallocation=", Trait("preallocation"));
  }
  return top;
}

std::vector<Qcow2Builder::Layer> Qcow2Builder::LowerLayers(uint64_t top_size) {
  std::vector<std::string> formats = absl::StrSplit(Trait("chain"), '_');
  std::string sizes = "same";
  if (formats.size() > 1 && formats.back() != "raw" &&
      formats.back() != "qed" && formats.back() != "qcow2") {
    sizes = formats.back();
    formats.pop_back();
  }
  if (formats[0] == "none") return {};
  std::vector<Layer> layers;
  uint64_t size = top_size;
  for (const std::string& format : formats) {
    if (sizes == "shorter") size = std::max(size * 3 / 4, kSector);
    if (sizes == "longer") size += size / 3;
    size = size / kSector * kSector;
    Layer layer;
    layer.name = absl::StrCat("layer", layers.size());
    layer.format = format;
    layer.size = size;
    if (format == "raw" && sizes == "odd") {
      layer.size += size / 2 + 333;
      whole_sectors_ = false;
    }
    ChooseOptions(layer);
    layers.insert(layers.begin(), layer);
  }
  for (size_t i = 1; i < layers.size(); ++i) {
    layers[i].backing = layers[i - 1].name;
    layers[i].backing_format = layers[i - 1].format;
  }
  return layers;
}

// Below the top, one kind or another.
void Qcow2Builder::ChooseOptions(Layer& layer) {
  constexpr const char* kZeroes[] = {"none", "write", "unmap", "discard"};
  if (layer.format == "qed") {
    layer.cluster_size = uint64_t{4096} << Random(5);
    layer.options =
        absl::StrCat("cluster_size=", layer.cluster_size, ",table_size=2");
  } else if (layer.format == "qcow2") {
    layer.cluster_size = uint64_t{512} << Random(13);
    layer.zeroes = kZeroes[Random(4)];
    layer.options = absl::StrCat("cluster_size=", layer.cluster_size);
    const uint64_t kind = Random(4);
    if (kind == 0) {
      absl::StrAppend(&layer.options, ",data_file=", layer.name, ".data");
    } else if (kind == 1) {
      layer.options += ",compat=0.10";
      layer.compressed = true;
    } else {
      layer.compressed = true;
      layer.options += kind == 2 ? ",compression_type=zstd" : "";
      layer.options += layer.cluster_size >= 16384 ? ",extended_l2=on" : "";
    }
  }
}

void Qcow2Builder::Make(const Layer& layer) {
  if (layer.format == "raw") {
    MakeRaw(layer);
    return;
  }
  std::vector<std::string> command = {
      "qemu-img", "create", "-q", "-f", layer.format, "-o", layer.options};
  if (!layer.backing.empty()) {
    command.insert(command.end(),
                   {"-b", layer.backing, "-F", layer.backing_format});
  }
  command.insert(command.end(), {layer.name, absl::StrCat(layer.size)});
  Run(command);
  if (layer.name != "top") QemuIo(layer, Writes(layer, 8));
}

void Qcow2Builder::MakeTop(const Layer& top) {
  Layer written = top;
  Make(top);
  if (Trait("bitmap") == "yes") {
    Run({"qemu-img", "bitmap", "--add", "-f", "qcow2", "top", "bitmap"});
  }
  if (Trait("snapshot") == "yes") {
    QemuIo(top, Writes(top, 8));
    written.compressed = false;  // QEMU refuses it where something is
    Run({"qemu-img", "snapshot", "-q", "-c", "first", "top"});
  }
  std::vector<std::string> commands = Writes(written, 12);
  // What is still in QEMU's caches is lost, and the image stays dirty.
  if (Trait("end") == "aborted") {
    commands.insert(commands.end(), {"flush", OneWrite(top), "abort"});
  }
  QemuIo(top, commands);
}

// Data, a hole, and data up to the end.
void Qcow2Builder::MakeRaw(const Layer& layer) {
  std::ofstream file(layer.name, std::ios::binary);
  const std::vector<uint8_t> data = Pattern(random_(), layer.size);
  const uint64_t first = layer.size / 3;
  const uint64_t second = layer.size - layer.size / 4;
  const auto write = [&](uint64_t from, uint64_t to) {
    file.seekp(static_cast<std::streamoff>(from));
    file.write(reinterpret_cast<const char*>(data.data() + from),
               static_cast<std::streamsize>(to - from));
  };
  write(0, first);
  write(second, layer.size);
  absl::StrAppend(&log_, "# ", layer.name, ": raw, ", layer.size, " bytes\n");
}

std::vector<std::string> Qcow2Builder::Writes(const Layer& layer, int count) {
  std::vector<std::string> commands;
  // First those that QEMU refuses where something is: one after the other.
  if (layer.compressed) {
    const uint64_t clusters =
        (layer.size + layer.cluster_size - 1) / layer.cluster_size;
    const uint64_t space = 2 * clusters / static_cast<uint64_t>(count) + 1;
    for (uint64_t at = Random(space); at < clusters;) {
      const uint64_t length = std::min(1 + Random(2), clusters - at);
      commands.push_back(CompressedWrite(layer, at, length));
      at += length + Random(space);
    }
  }
  while (commands.size() < static_cast<size_t>(count)) {
    commands.push_back(OneWrite(layer));
  }
  for (int i = 0; i < count / 2; ++i) commands.push_back(OneWrite(layer));
  return commands;
}

std::string Qcow2Builder::OneWrite(const Layer& layer) {
  const uint64_t sectors = layer.size / kSector;
  const uint64_t offset = Random(sectors) * kSector;
  uint64_t length =
      std::min(layer.cluster_size * 5 / 2, kMostWritten) / kSector;
  length = std::min((1 + Random(length)) * kSector, layer.size - offset);
  // Whole clusters now and then: they change their state, parts are written.
  const uint64_t aligned = offset / layer.cluster_size * layer.cluster_size;
  const uint64_t until =
      std::min(layer.size, aligned + layer.cluster_size * (1 + Random(3)));
  const std::string part = absl::StrCat(" ", offset, " ", length);
  const std::string whole = absl::StrCat(" ", aligned, " ", until - aligned);
  const std::string range = Random(2) == 0 ? part : whole;
  if (layer.zeroes != "none" && Random(3) == 0) {
    if (layer.zeroes == "unmap") return "write -z -u" + range;
    if (layer.zeroes == "discard") return "discard" + range;
    return "write -z" + range;
  }
  if (Random(2) == 0) {
    return absl::StrCat("write -P ", 1 + Random(255), part);
  }
  return absl::StrCat("write -s pool", Random(kPools), part);
}

// Whole clusters; the last one ends where the disk does.
std::string Qcow2Builder::CompressedWrite(const Layer& layer, uint64_t cluster,
                                          uint64_t clusters) {
  const uint64_t offset = cluster * layer.cluster_size;
  const uint64_t length =
      std::min(clusters * layer.cluster_size, layer.size - offset);
  const std::string range = absl::StrCat(" ", offset, " ", length);
  if (Random(4) == 0) {
    return absl::StrCat("write -c -P ", Random(256), range);
  }
  return absl::StrCat("write -c -s pool", Random(kPools), range);
}

void Qcow2Builder::MakePools() {
  constexpr const char* kWords[] = {"cluster ", "table ", "entry ",
                                    "image ",   "disk ",  "\n"};
  for (int i = 0; i < kPools; ++i) {
    std::string text;
    const uint64_t length = 9000 + Random(120000);
    while (text.size() < length) {
      if (Random(40) == 0) {
        const std::vector<uint8_t> noise = Pattern(random_(), Random(3000));
        text.append(noise.begin(), noise.end());
      } else {
        text += kWords[Random(6)];
        if (Random(4) == 0) absl::StrAppend(&text, Random(1000000), " ");
      }
    }
    std::ofstream(absl::StrCat("pool", i), std::ios::binary) << text;
  }
}

void Qcow2Builder::QemuIo(const Layer& layer,
                          std::vector<std::string> commands) {
  std::vector<std::string> command = {"qemu-io", "-d", "unmap", "-f",
                                      layer.format};
  for (const std::string& one : commands) {
    command.insert(command.end(), {"-c", one});
  }
  command.push_back(layer.name);
  Run(command);
}

void Qcow2Builder::Run(const std::vector<std::string>& command) {
  const CommandResult result = RunCommand(command);
  const bool aborts = absl::c_linear_search(command, "abort");
  std::vector<std::string> words = command;
  for (std::string& word : words) {
    if (absl::StrContains(word, ' ')) word = absl::StrCat("'", word, "'");
  }
  absl::StrAppend(&log_, absl::StrJoin(words, " "), "\n");
  if ((result.exit_code != 0 && !aborts) ||
      absl::StrContains(result.output, "failed")) {
    throw std::runtime_error(absl::StrCat(log_, result.output));
  }
}

}  // namespace flatcow
