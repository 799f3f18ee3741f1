// SPDX-License-Identifier: Apache-2.0
#include "fuzz/fuzz_seeds.h"

#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fuzz/prepared_chains.h"
#include "model/draft_image.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

using Seeds = std::vector<FuzzSeed>;

constexpr size_t kHeadBytes = 160;

std::string RandomBytes(uint64_t seed, size_t length) {
  std::mt19937_64 random(seed);
  std::string bytes;
  while (bytes.size() < length) bytes += Little64(random());
  bytes.resize(length);
  return bytes;
}

// The images of PreparedChains(), as input for the codecs.
void AddHeaders(Seeds& seeds) {
  int n = 0;
  for (const PreparedChain& chain : PreparedChains()) {
    const std::string image = chain.files->Contents(kChainImage);
    const char* const target = image[0] == 'A'   ? "addcow_header"
                               : image[1] == 'F' ? "qcow2_header"
                                                 : "qed_header";
    seeds.push_back({target, absl::StrCat("seed-chain", n++),
                     Little64(image.size()) + image.substr(0, kHeadBytes)});
  }
}

void AddDraftHeaders(Seeds& seeds) {
  for (const auto& [name, draft] :
       {std::pair{"june", Draft::kJune2012}, {"july", Draft::kJuly2012}}) {
    const std::string head = DraftBytes({.draft = draft,
                                         .backing = "base.raw",
                                         .backing_format = "raw",
                                         .image = "image0"});
    seeds.push_back({"addcow_header", absl::StrCat("seed-", name),
                     Little64(head.size() + kDraftClusterBytes) +
                         head.substr(0, kHeadBytes)});
  }
}

void AddTables(Seeds& seeds) {
  const std::string megabyte = std::string("\x2b", 1) + Little64(~uint64_t{0});
  const auto add = [&](const char* name, const std::string& geometry) {
    for (const uint64_t seed : {uint64_t{1}, uint64_t{2}}) {
      seeds.push_back({"tables", absl::StrCat("seed-", name, "-", seed),
                       geometry + RandomBytes(seed, 120)});
    }
  };
  using std::string_literals::operator""s;
  // Format, cluster size, table size, flags, place of the L1 table, sizes.
  add("qed-small", "\x00\x00\x00\x01\x00"s + megabyte + megabyte);
  add("qed-need-check", "\x00\x01\x01\x00\x01"s + megabyte + megabyte);
  add("qed-huge", "\x00\x0e\x04\x01\x00\x00"s + Little64(~uint64_t{0}) +
                      "\x02"s + Little64(~uint64_t{0}));
  // Format, cluster size, header size, flags, sizes.
  add("addcow-small", "\x01\x00\x00\x00\x01"s + megabyte + megabyte);
  add("addcow-huge", "\x01\x11\x00\x00\x01\x12"s + Little64(~uint64_t{0}) +
                         "\x10"s + Little64(~uint64_t{0}));
  add("june-small", "\x01\x00\x00\x00\x81"s + megabyte + megabyte);
  add("july-small", "\x01\x00\x00\x00\xc1"s + megabyte + megabyte);
}

void AddQcow2Tables(Seeds& seeds) {
  const std::string megabyte = std::string("\x2b", 1) + Little64(~uint64_t{0});
  const std::string huge = std::string("\x01", 1) + Little64(~uint64_t{0});
  using std::string_literals::operator""s;
  const auto add = [&](const char* name, const std::string& geometry) {
    for (const uint64_t seed : {uint64_t{1}, uint64_t{2}, uint64_t{3}}) {
      seeds.push_back({"tables", absl::StrCat("seed-qcow2-", name, "-", seed),
                       geometry + RandomBytes(seed, 160)});
    }
  };
  // Format, cluster size, refcount order, features, places, sizes of disk, data
  // file and file.
  add("small", "\x02\x03\x04\x00\x08"s + megabyte + megabyte + megabyte);
  add("least", "\x02\x00\x06\x00\x08"s + megabyte + megabyte + megabyte);
  add("raw", "\x02\x03\x04\x10\x10"s + megabyte + megabyte + megabyte);
  add("extended", "\x02\x05\x04\x01\x08"s + megabyte + megabyte + megabyte);
  add("marked", "\x02\x03\x03\x0e\x08"s + megabyte + megabyte + megabyte);
  add("huge", "\x02\x0c\x00\x00\x08"s + huge + megabyte + megabyte);
  // And a bitmap directory: how many, of how many bytes, where.
  add("bitmaps", "\x02\x03\x04\x20\x08"s + megabyte + "\x01\x37"s +
                     Little64(~uint64_t{0}) + "\x30"s + Little64(~uint64_t{0}) +
                     megabyte + megabyte);
  // Without a data file.
  add("compressed", "\x03\x03\x04\x40\x08"s + megabyte + megabyte);
  add("zstd", "\x03\x07\x04\x50\x08"s + megabyte + megabyte);
  add("compressed-subclusters", "\x03\x05\x04\x41\x08"s + megabyte + megabyte);
  add("version2", "\x03\x03\x04\x60\x08"s + megabyte + megabyte);
}

// What is packed is not the same with every version of a compressor, so it is
// among the other inputs.
void AddCompressedClusters(Seeds& seeds) {
  const std::string content = RandomBytes(1, 200) + std::string(312, 'c');
  seeds.push_back({"decompress", "seed-content", "\x04" + content});
}

void AddOperations(Seeds& seeds) {
  for (size_t i = 0; i < PreparedChains().size(); ++i) {
    const std::string chain(1, static_cast<char>(i));
    // Opened for writing, and 32 KiB more.
    seeds.push_back({"image_operations", absl::StrCat("seed-grow", i),
                     chain + std::string("\0\x02\x3a\0\x10", 5)});
    // No damage, and two or more strokes of it.
    seeds.push_back({"image_operations", absl::StrCat("seed-sound", i),
                     chain + std::string(1, '\0') + RandomBytes(i, 160)});
    seeds.push_back({"image_operations", absl::StrCat("seed-damaged", i),
                     chain + std::string(1, static_cast<char>(5 + i % 4)) +
                         RandomBytes(100 + i, 200)});
  }
  // An L2 entry that names a place in the header, and a write to its cluster.
  using std::string_literals::operator""s;
  seeds.push_back({"image_operations", "seed-entry-in-header",
                   "\x00\x04\x00\x04\x01\x00\x01\x00\x01\xc8"
                   "\x02\x02\x01\x01\x32"s});
}

void AddCommandLines(Seeds& seeds) {
  using std::string_literals::operator""s;
  const auto add = [&](const char* target, const char* name,
                       const std::string& words) {
    seeds.push_back({target, absl::StrCat("seed-", name), words});
  };
  add("daemon_options", "plain", "images\0disks"s);
  add("daemon_options", "words",
      "-fd\0-oro,allow_other,nosuid,_netdev,x-a=b\0images\0disks"s);
  add("daemon_options", "numbers",
      "-o\0uid=1,gid=2,umask=027,max_threads=8,commit=30\0a\0b"s);
  add("daemon_options", "values",
      "a\0-o\0allow=/a\\,b,fsname=\"x,y\",lock=off,cache=none\0--\0-b"s);
  add("daemon_options", "help", "--help\0--vers"s);
  add("tool_options", "sizes", "64k\0001.5G\0000x10000\0512b\0008E\0.5M"s);
  add("tool_options", "keys",
      "cluster_size=64k,table_size=4\0image_file=a,,b,backing_fmt=raw"s);
  add("tool_options", "words",
      "-qf\0qed\0--out=json\0--fo\0raw\0--\0-x\0disk"s);
}

}  // namespace

std::vector<FuzzSeed> FuzzSeeds() {
  Seeds seeds;
  AddHeaders(seeds);
  AddDraftHeaders(seeds);
  AddTables(seeds);
  AddQcow2Tables(seeds);
  AddCompressedClusters(seeds);
  AddOperations(seeds);
  AddCommandLines(seeds);
  return seeds;
}

}  // namespace flatcow
