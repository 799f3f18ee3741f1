// SPDX-License-Identifier: Apache-2.0
//
// What images and the cache count.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "flatcow/image.h"
#include "image/open_fixture.h"

namespace flatcow {
namespace {

using StatisticsTest = OpenTest;

TEST_F(StatisticsTest, ClustersThatAreWrittenAndWhatIsCopied) {
  for (const std::string format : {"qed", "add-cow"}) {
    const std::string path = "/" + format;
    if (format == "qed") {
      MakeQed(path, 16 * kCluster);
    } else {
      MakeAddCow(path, 16 * kCluster);
    }
    const auto image = Open(path, Access::kReadWrite);
    WriteDisk(*image, 0, std::string(2 * kCluster, 'a'));  // nothing to copy
    EXPECT_EQ(image->Statistics().allocated_clusters, 2u) << format;
    EXPECT_EQ(image->Statistics().copied_bytes, 0u) << format;
    WriteDisk(*image, 5 * kCluster + 512, std::string(512, 'b'));
    EXPECT_EQ(image->Statistics().allocated_clusters, 3u) << format;
    EXPECT_EQ(image->Statistics().copied_bytes, kCluster - 512) << format;
    WriteDisk(*image, 0, std::string(6 * kCluster, 'c'));
    EXPECT_EQ(image->Statistics().allocated_clusters, 6u) << format;
    const uint64_t rounds = image->Statistics().flush_rounds;
    Must(image->Flush());
    EXPECT_EQ(image->Statistics().flush_rounds, rounds + 1) << format;
    EXPECT_EQ(Must(image->CountAllocatedClusters(100)), 6u) << format;
    Must(image->Populate({8 * kCluster, kCluster}));
    EXPECT_EQ(image->Statistics().allocated_clusters, 7u) << format;
    EXPECT_EQ(Must(image->CountAllocatedClusters(100)), 7u) << format;
  }
}

TEST_F(StatisticsTest, CountingStopsAtItsLimit) {
  MakeQed("/disk", 16 * kCluster);
  const auto image = Open("/disk", Access::kReadWrite);
  for (uint64_t cluster : {1, 3, 5}) {
    WriteDisk(*image, cluster * kCluster, std::string(kCluster, 'x'));
  }
  EXPECT_EQ(Must(image->CountAllocatedClusters(7)), 3u);
  EXPECT_EQ(Must(image->CountAllocatedClusters(6)), std::nullopt);
}

TEST_F(StatisticsTest, TheCacheTellsHitsFromMissesAndEvictions) {
  constexpr uint64_t kTableReach = 1024 * kCluster;
  MakeQed("/disk", 16 * kTableReach);
  const auto cache = NewMetadataCache(1);
  EXPECT_EQ(StatisticsOf(*cache).hits, 0u);
  EXPECT_EQ(StatisticsOf(*cache).misses, 0u);
  EXPECT_EQ(StatisticsOf(*cache).pages, 8u);
  auto image =
      Must(OpenImage(files_, "/disk",
                     {.access = Access::kReadWrite, .metadata_cache = cache}));
  WriteDisk(*image, 0, "x");
  const CacheStatistics first = StatisticsOf(*cache);
  EXPECT_GT(first.misses, 0u);
  EXPECT_EQ(first.dirty_pages, 2u);  // of the L1 table and of an L2 table
  EXPECT_EQ(first.evictions, 0u);
  ReadDisk(*image, {0, 1});
  const CacheStatistics second = StatisticsOf(*cache);
  EXPECT_GT(second.hits, first.hits);
  EXPECT_EQ(second.misses, first.misses);
  Must(image->Flush());
  EXPECT_EQ(StatisticsOf(*cache).dirty_pages, 0u);
  for (uint64_t at = 0; at < 16 * kTableReach; at += kTableReach) {
    WriteDisk(*image, at, "x");
    Must(image->Flush());
  }
  EXPECT_GE(StatisticsOf(*cache).evictions, 17u - 8u);
}

}  // namespace
}  // namespace flatcow
