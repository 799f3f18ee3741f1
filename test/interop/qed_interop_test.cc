// SPDX-License-Identifier: Apache-2.0
//
// QED images that QEMU wrote and flatcow reads, and the other way round.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "interop/qemu.h"
#include "model/disk_model.h"
#include "model/image_testing.h"
#include "nlohmann/json.hpp"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

using nlohmann::json;

struct Shape {
  std::string name;
  uint32_t cluster_size;
  uint32_t table_size;
  // Size of the raw file at the bottom, in 1/100 of the disk; 0 for none.
  uint64_t base_percent;
  uint64_t base_odd = 0;     // bytes more
  bool qed_between = false;  // qed over qed over raw
};

void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

class QedInteropTest : public testing::TestWithParam<Shape> {
 protected:
  void SetUp() override {
    if (!HaveQemu()) GTEST_SKIP() << "needs qemu-img and qemu-io";
    shape_ = GetParam();
    // QEMU's check counts a leak too many from cluster_size^2 bytes on, so the
    // disks are well below that.
    size_ = std::min<uint64_t>(uint64_t{48} * shape_.cluster_size, 8 << 20) +
            5 * 512;
    content_.assign(size_, '\0');
    if (shape_.base_percent == 0) return;
    const uint64_t base_size =
        size_ / 512 * shape_.base_percent / 100 * 512 + shape_.base_odd;
    const std::string base = PatternText(4, base_size);
    Make(files_, directory_ / "base.raw", {.size = base_size});
    PokeFile(files_, directory_ / "base.raw", 0, base);
    Overwrite(content_, 0, base.substr(0, size_));
    backing_ = "base.raw";
    if (!shape_.qed_between) return;
    QemuCreate("middle.qed");
    QemuIo("middle.qed", {"write -P 77 3k 70k"});
    Fill(3 << 10, 70 << 10, 77);
    backing_ = "middle.qed";
  }

  std::string BackingFormat() const {
    return backing_ == "middle.qed" ? "qed" : "raw";
  }

  void QemuCreate(const std::string& name) {
    std::vector<std::string> command = {
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qed",
        "-o",
        absl::StrCat("cluster_size=", shape_.cluster_size,
                     ",table_size=", shape_.table_size)};
    if (!backing_.empty()) {
      command.insert(command.end(), {"-b", backing_, "-F", BackingFormat()});
    }
    command.insert(command.end(), {directory_ / name, absl::StrCat(size_)});
    MustRun(command);
  }

  void FlatcowCreate(const std::string& name) {
    Make(files_, directory_ / name,
         {.format = "qed",
          .size = size_,
          .backing_file = backing_,
          .backing_format = backing_.empty() ? "" : BackingFormat(),
          .cluster_size = shape_.cluster_size,
          .table_size = shape_.table_size});
  }

  void QemuIo(const std::string& name,
              const std::vector<std::string>& commands) {
    std::vector<std::string> command = {"qemu-io", "-f", "qed"};
    for (const std::string& one : commands) {
      command.insert(command.end(), {"-c", one});
    }
    command.push_back(directory_ / name);
    const std::string output = MustRun(command);
    if (output.find("failed") != std::string::npos) {
      throw std::runtime_error(output);
    }
  }

  void Fill(uint64_t offset, uint64_t length, int byte) {
    const uint64_t end = std::min(offset + length, size_);
    std::fill(content_.begin() + static_cast<ptrdiff_t>(offset),
              content_.begin() + static_cast<ptrdiff_t>(end),
              static_cast<char>(byte));
  }

  // 40 writes, and zeroed clusters in the last quarter, which the writes leave
  // alone: QEMU fills the rest of a partly written zero cluster from the
  // backing file.
  void QemuWritesAtRandom(const std::string& name, uint64_t seed) {
    std::mt19937_64 random(seed);
    const uint64_t clusters = size_ / shape_.cluster_size;
    const uint64_t zero_area = clusters * 3 / 4 * shape_.cluster_size;
    std::vector<std::string> commands;
    for (int i = 0; i < 40; ++i) {
      const uint64_t offset = random() % zero_area;
      const uint64_t length = std::min(
          zero_area - offset, 1 + random() % (2 * shape_.cluster_size));
      const int byte = static_cast<int>(1 + random() % 255);
      commands.push_back(
          absl::StrCat("write -P ", byte, " ", offset, " ", length));
      Fill(offset, length, byte);
    }
    for (uint64_t cluster = clusters * 3 / 4; cluster < clusters;
         cluster += 2) {
      const uint64_t offset = cluster * shape_.cluster_size;
      commands.push_back(
          absl::StrCat("write -z ", offset, " ", shape_.cluster_size));
      Fill(offset, shape_.cluster_size, 0);
    }
    QemuIo(name, commands);
  }

  // Writes and zeroes of any alignment, partly over each other.
  void FlatcowWritesAtRandom(const std::string& name, uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto image = Must(OpenImage(files_, directory_ / name, Writable()));
    for (int i = 0; i < 60; ++i) {
      const uint64_t offset = random() % size_;
      const uint64_t length =
          std::min(size_ - offset, 1 + random() % (3 * shape_.cluster_size));
      if (random() % 3 == 0) {
        Must(image->WriteZeroes({offset, length}));
        Fill(offset, length, 0);
      } else {
        const std::string data = PatternText(random(), length);
        WriteDisk(*image, offset, data);
        Overwrite(content_, offset, data);
      }
      if (i % 20 == 0) Must(image->Flush());
    }
    EXPECT_TRUE(Shows(*image, content_));
  }

  void ExpectQemuAgrees(const std::string& name) {
    const auto check =
        RunCommand({"qemu-img", "check", "-f", "qed", directory_ / name});
    EXPECT_EQ(check.exit_code, 0) << check.output;
    // A model in a file, so that QEMU does the comparing.
    const std::string model = directory_ / "model";
    files_.Remove(model).IgnoreError();
    Make(files_, model, {.size = size_});
    PokeFile(files_, model, 0, content_);
    const auto compare = RunCommand({"qemu-img", "compare", "-f", "qed", "-F",
                                     "raw", directory_ / name, model});
    EXPECT_EQ(compare.exit_code, 0) << compare.output;
  }

  void ExpectFlatcowAgrees(const std::string& name) {
    EXPECT_TRUE(IsClean(files_, directory_ / name));
    const auto image = Must(OpenImage(files_, directory_ / name, {}));
    EXPECT_TRUE(Shows(*image, content_));
    const std::string raw = directory_ / "converted";
    MustRun({"qemu-img", "convert", "-f", "qed", "-O", "raw", directory_ / name,
             raw});
    EXPECT_TRUE(Shows(*image, ReadFile(files_, raw)));
  }

  std::string FlatcowMap(const std::string& name);
  std::string QemuMap(const std::string& name);

  FileSystem& files_ = PosixFileSystem();
  TemporaryDirectory directory_;
  Shape shape_;
  uint64_t size_ = 0;
  std::string backing_;
  std::string content_;  // what the disk must show
};

TEST_P(QedInteropTest, FlatcowReadsWhatQemuWrote) {
  const uint64_t seed = SeedFor(0);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  QemuCreate("top.qed");
  QemuWritesAtRandom("top.qed", seed);
  ExpectFlatcowAgrees("top.qed");
}

TEST_P(QedInteropTest, QemuReadsWhatFlatcowWroteIntoItsImage) {
  const uint64_t seed = SeedFor(1);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  QemuCreate("top.qed");
  FlatcowWritesAtRandom("top.qed", seed);
  ExpectQemuAgrees("top.qed");
}

TEST_P(QedInteropTest, QemuReadsWhatFlatcowMadeAndWrote) {
  const uint64_t seed = SeedFor(2);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  FlatcowCreate("top.qed");
  FlatcowWritesAtRandom("top.qed", seed);
  ExpectQemuAgrees("top.qed");
}

TEST_P(QedInteropTest, BothTakeTurns) {
  const uint64_t seed = SeedFor(3);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  FlatcowCreate("top.qed");
  QemuWritesAtRandom("top.qed", seed);
  FlatcowWritesAtRandom("top.qed", seed + 1);
  ExpectQemuAgrees("top.qed");
  // Whole clusters only: QEMU misreads zero clusters it writes a part of.
  const uint64_t cluster = shape_.cluster_size;
  QemuIo("top.qed", {absl::StrCat("write -P 9 ", 2 * cluster, " ", cluster)});
  Fill(2 * cluster, cluster, 9);
  ExpectFlatcowAgrees("top.qed");
}

TEST_P(QedInteropTest, MadeImagesAreEqual) {
  QemuCreate("a.qed");
  FlatcowCreate("b.qed");
  EXPECT_TRUE(ReadFile(files_, directory_ / "a.qed") ==
              ReadFile(files_, directory_ / "b.qed"));
}

TEST_P(QedInteropTest, QemuReadsAGrownImage) {
  const uint64_t seed = SeedFor(4);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  QemuCreate("top.qed");
  FlatcowWritesAtRandom("top.qed", seed);
  {
    const auto image =
        Must(OpenImage(files_, directory_ / "top.qed", Writable()));
    size_ += 7 * shape_.cluster_size / 2;
    Must(image->Resize(size_));
  }
  content_.resize(size_, '\0');
  ExpectQemuAgrees("top.qed");
}

// ---- Map ----

struct MapRun {
  uint64_t start;
  uint64_t length;
  int depth;
  bool zero;
  bool data;
  int64_t offset;  // -1: none
};

std::string Print(const std::vector<MapRun>& runs) {
  std::string text;
  for (const MapRun& run : runs) {
    absl::StrAppend(&text, run.start, "+", run.length, " depth ", run.depth,
                    run.zero ? " zero" : "", run.data ? " data" : "", " at ",
                    run.offset, "\n");
  }
  return text;
}

std::string QedInteropTest::FlatcowMap(const std::string& name) {
  const auto image = Must(OpenImage(files_, directory_ / name, {}));
  std::vector<MapRun> runs;
  uint64_t at = 0;
  for (const Segment& segment : Must(image->Map({0, image->Size()}))) {
    const bool data = segment.kind == Segment::Kind::kData;
    runs.push_back({at, segment.length, segment.depth, !data, data,
                    segment.file == nullptr
                        ? -1
                        : static_cast<int64_t>(segment.host_offset)});
    at += segment.length;
  }
  return Print(runs);
}

std::string QedInteropTest::QemuMap(const std::string& name) {
  std::vector<MapRun> runs;
  const json map = json::parse(MustRun(
      {"qemu-img", "map", "--output=json", "-f", "qed", directory_ / name}));
  for (const json& run : map) {
    // What no layer holds has depth 0 in flatcow; QEMU counts the layers over
    // the file that ends too early.
    const int depth = run["present"].get<bool>() ? run["depth"].get<int>() : 0;
    runs.push_back({run["start"], run["length"], depth, run["zero"],
                    run["data"], run.value("offset", int64_t{-1})});
  }
  return Print(runs);
}

// For shapes where QEMU does not round the size of the backing file.
class QedMapInteropTest : public QedInteropTest {};

TEST_P(QedMapInteropTest, MapsAreEqual) {
  const uint64_t seed = SeedFor(5);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  QemuCreate("top.qed");
  FlatcowWritesAtRandom("top.qed", seed);
  EXPECT_EQ(FlatcowMap("top.qed"), QemuMap("top.qed"));
}

std::vector<Shape> AllShapes() {
  struct Geometry {
    uint32_t cluster_size;
    uint32_t table_size;
  };
  struct Base {
    const char* name;
    uint64_t percent;
    uint64_t odd;
    bool qed_between;
  };
  constexpr Base kBases[] = {
      {"alone", 0, 0, false},         {"shorter", 40, 0, false},
      {"longer", 150, 0, false},      {"shorter_odd", 40, 333, false},
      {"longer_odd", 150, 77, false}, {"over_qed", 80, 0, true},
  };
  std::vector<Shape> shapes;
  for (const Geometry geometry : {Geometry{4096, 2}, {16384, 16}, {65536, 4}}) {
    for (const Base& base : kBases) {
      shapes.push_back(
          {.name = absl::StrCat("c", geometry.cluster_size, "_t",
                                geometry.table_size, "_", base.name),
           .cluster_size = geometry.cluster_size,
           .table_size = geometry.table_size,
           .base_percent = base.percent,
           .base_odd = base.odd,
           .qed_between = base.qed_between});
    }
  }
  return shapes;
}

std::vector<Shape> ShapesOfWholeSectors() {
  std::vector<Shape> shapes = AllShapes();
  std::erase_if(shapes, [](const Shape& shape) { return shape.base_odd != 0; });
  return shapes;
}

INSTANTIATE_TEST_SUITE_P(Shapes, QedMapInteropTest,
                         testing::ValuesIn(ShapesOfWholeSectors()),
                         [](const auto& shape) { return shape.param.name; });
INSTANTIATE_TEST_SUITE_P(Shapes, QedInteropTest, testing::ValuesIn(AllShapes()),
                         [](const auto& shape) { return shape.param.name; });

}  // namespace
}  // namespace flatcow
