// SPDX-License-Identifier: Apache-2.0
#include "map_runs.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "flatcow/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flatcow::tool {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr auto kData = Segment::Kind::kData;
constexpr auto kZero = Segment::Kind::kZero;

// Stands for a place; never dereferenced.
const File* const kFile = reinterpret_cast<const File*>(64);
const File* const kOtherFile = reinterpret_cast<const File*>(128);

MapRun Data(uint64_t start, uint64_t length, uint64_t host_offset,
            uint16_t depth = 0, const File* file = kFile) {
  return {start, {kData, true, depth, length, file, host_offset}};
}

MapRun Zero(uint64_t start, uint64_t length, uint16_t depth = 0) {
  return {start, {kZero, true, depth, length, nullptr, 0}};
}

MapRun Nothing(uint64_t start, uint64_t length, uint16_t depth) {
  return {start, {kZero, false, depth, length, nullptr, 0}};
}

// A disk that is nothing but a map: cluster i is as `cluster_map(i)` says.
class MappedDisk final : public BlockDevice {
 public:
  static constexpr uint64_t kCluster = 65536;
  using ClusterMap = Segment (*)(uint64_t cluster);

  MappedDisk(uint64_t size, ClusterMap cluster_map)
      : size_(size), cluster_map_(cluster_map) {}

  uint64_t Size() const override { return size_; }

  absl::StatusOr<SegmentList> Map(Extent extent) override {
    ++map_calls_;
    largest_ = std::max(largest_, extent.length);
    SegmentList segments;
    if (cluster_map_ == nullptr) {
      segments.push_back({kZero, false, 0, extent.length, nullptr, 0});
      return segments;
    }
    uint64_t offset = extent.offset;
    while (offset < extent.end()) {
      const uint64_t in_cluster = offset % kCluster;
      Segment segment = cluster_map_(offset / kCluster);
      if (segment.file != nullptr) segment.host_offset += in_cluster;
      segment.length = std::min(kCluster - in_cluster, extent.end() - offset);
      segments.push_back(segment);
      offset += segment.length;
    }
    return segments;
  }

  absl::StatusOr<size_t> Read(uint64_t, absl::Span<uint8_t>) override {
    return absl::UnimplementedError("no data");
  }
  absl::StatusOr<size_t> Write(uint64_t, absl::Span<const uint8_t>) override {
    return absl::UnimplementedError("no data");
  }
  absl::Status WriteZeroes(Extent) override { return Unused(); }
  absl::Status Discard(Extent) override { return Unused(); }
  absl::Status Allocate(Extent) override { return Unused(); }
  absl::Status Flush() override { return Unused(); }
  absl::Status Resize(uint64_t) override { return Unused(); }

  uint64_t map_calls() const { return map_calls_; }
  uint64_t largest() const { return largest_; }

 private:
  static absl::Status Unused() { return absl::UnimplementedError("no data"); }

  const uint64_t size_;
  const ClusterMap cluster_map_;
  uint64_t map_calls_ = 0;
  uint64_t largest_ = 0;
};

std::vector<MapRun> Runs(MappedDisk& disk, Extent extent,
                         const std::vector<uint64_t>& layer_sizes) {
  std::vector<MapRun> runs;
  const absl::Status status =
      ForEachRun(disk, layer_sizes, extent, [&runs](const MapRun& run) {
        runs.push_back(run);
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
  return runs;
}

TEST(JoinTest, AdjacentRunsOfOneKindJoin) {
  MapRun run = Data(0, 100, 1000);
  EXPECT_TRUE(Join(run, Data(100, 50, 1100)));
  EXPECT_EQ(run, Data(0, 150, 1000));
  run = Zero(0, 10);
  EXPECT_TRUE(Join(run, Zero(10, 10)));
  EXPECT_EQ(run, Zero(0, 20));
}

TEST(JoinTest, AnythingDifferentKeepsThemApart) {
  const MapRun before = Data(0, 100, 1000);
  for (const MapRun& next :
       {Data(101, 50, 1100), Data(100, 50, 1101), Data(100, 50, 1100, 1),
        Data(100, 50, 1100, 0, kOtherFile), Zero(100, 50),
        Nothing(100, 50, 0)}) {
    MapRun run = before;
    EXPECT_FALSE(Join(run, next));
    EXPECT_EQ(run, before);
  }
}

TEST(ForEachRunTest, JoinsAcrossSegments) {
  MappedDisk disk(8 * MappedDisk::kCluster, [](uint64_t cluster) -> Segment {
    const uint64_t place = cluster * MappedDisk::kCluster;
    if (cluster < 3) return {kData, true, 0, 0, kFile, place + 4096};
    if (cluster < 5) return {kZero, true, 0, 0, nullptr, 0};
    return {kData, true, 1, 0, kOtherFile, place};
  });
  EXPECT_THAT(
      Runs(disk, {0, disk.Size()}, {disk.Size(), disk.Size()}),
      ElementsAre(Data(0, 3 * 65536, 4096), Zero(3 * 65536, 2 * 65536),
                  Data(5 * 65536, 3 * 65536, 5 * 65536, 1, kOtherFile)));
}

TEST(ForEachRunTest, BeginsAndEndsInsideARun) {
  MappedDisk disk(4 * MappedDisk::kCluster, [](uint64_t cluster) -> Segment {
    return {kData, true, 0, 0, kFile, cluster * MappedDisk::kCluster};
  });
  EXPECT_THAT(Runs(disk, {1000, 100000}, {disk.Size()}),
              ElementsAre(Data(1000, 100000, 1000)));
  EXPECT_THAT(Runs(disk, {1000, 0}, {disk.Size()}), IsEmpty());
}

TEST(ForEachRunTest, NothingHasTheDepthOfTheLayerThatEndsTheChainThere) {
  MappedDisk disk(4000, nullptr);
  EXPECT_THAT(Runs(disk, {0, 4000}, {4000}), ElementsAre(Nothing(0, 4000, 0)));
  EXPECT_THAT(Runs(disk, {0, 4000}, {4000, 2000, 1000}),
              ElementsAre(Nothing(0, 1000, 2), Nothing(1000, 1000, 1),
                          Nothing(2000, 2000, 0)));
  // A layer behind a short one is not reached.
  EXPECT_THAT(Runs(disk, {0, 4000}, {4000, 1000, 3000}),
              ElementsAre(Nothing(0, 1000, 2), Nothing(1000, 3000, 0)));
}

TEST(ForEachRunTest, AnErrorOfTheVisitorEndsIt) {
  MappedDisk disk(uint64_t{64} << 40, [](uint64_t cluster) -> Segment {
    return {cluster % 2 == 0 ? kData : kZero, true, 0, 0, nullptr, 0};
  });
  int visits = 0;
  const absl::Status status = ForEachRun(
      disk, {disk.Size()}, {0, disk.Size()}, [&visits](const MapRun&) {
        return ++visits == 2 ? absl::CancelledError("enough")
                             : absl::OkStatus();
      });
  EXPECT_EQ(status.message(), "enough");
  EXPECT_EQ(visits, 2);
  EXPECT_EQ(disk.map_calls(), 1u);
}

TEST(ForEachRunTest, AHugeDiskIsMappedInBoundedSteps) {
  MappedDisk disk(uint64_t{64} << 40, nullptr);
  EXPECT_THAT(Runs(disk, {0, disk.Size()}, {disk.Size()}), SizeIs(1));
  EXPECT_LE(disk.largest(), uint64_t{1} << 30);
  EXPECT_LE(disk.map_calls(), 65536u);
}

}  // namespace
}  // namespace flatcow::tool
