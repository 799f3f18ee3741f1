// SPDX-License-Identifier: Apache-2.0
#include "interop/qemu_map.h"

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "interop/qemu.h"
#include "map_runs.h"
#include "model/image_testing.h"
#include "nlohmann/json.hpp"

namespace flatcow {
namespace {

using nlohmann::json;

struct Run {
  uint64_t start = 0;
  uint64_t length = 0;
  int depth = 0;
  bool present = false;
  bool data = false;
  int64_t offset = -1;  // -1: none
};

class Runs {
 public:
  void Add(Run run) {
    if (!run.data) run.offset = -1;
    if (!runs_.empty() && Continues(runs_.back(), run)) {
      runs_.back().length += run.length;
    } else {
      runs_.push_back(run);
    }
  }

  std::string Print() const {
    std::string text;
    for (const Run& run : runs_) {
      absl::StrAppend(&text, run.start, "+", run.length, " depth ", run.depth,
                      run.present ? " present" : "",
                      run.data ? " data" : " zero");
      if (run.offset >= 0) absl::StrAppend(&text, " at ", run.offset);
      text += '\n';
    }
    return text;
  }

 private:
  static bool Continues(const Run& a, const Run& b) {
    if (a.depth != b.depth || a.present != b.present || a.data != b.data) {
      return false;
    }
    if (a.offset < 0 || b.offset < 0) return a.offset == b.offset;
    return a.offset + static_cast<int64_t>(a.length) == b.offset;
  }

  std::vector<Run> runs_;
};

}  // namespace

std::string QemuMap(const std::string& path, const std::string& format) {
  Runs runs;
  const json map = json::parse(
      MustRun({"qemu-img", "map", "--output=json", "-f", format, path}));
  for (const json& run : map) {
    runs.Add({run["start"], run["length"], run["depth"], run["present"],
              run["data"], run.value("offset", int64_t{-1})});
  }
  return runs.Print();
}

std::string FlatcowMap(FileSystem& files, const std::string& path) {
  Runs runs;
  std::vector<uint64_t> sizes;
  for (const ImageInfo& info : Must(ReadChainInfo(files, path, {}))) {
    sizes.push_back(info.virtual_size);
  }
  const auto image = Must(OpenImage(files, path, {}));
  Must(tool::ForEachRun(
      *image, sizes, {0, image->Size()}, [&runs](const tool::MapRun& run) {
        const Segment& segment = run.segment;
        const bool placed =
            segment.file != nullptr && segment.file->IsHostFile();
        runs.Add({run.start, segment.length, segment.depth, segment.allocated,
                  segment.kind != Segment::Kind::kZero,
                  placed ? static_cast<int64_t>(segment.host_offset) : -1});
        return absl::OkStatus();
      }));
  return runs.Print();
}

}  // namespace flatcow
