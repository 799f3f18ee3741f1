// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "format/qed/geometry.h"

namespace flatcow::qed {
namespace {

TableGeometry GeometryFor(uint32_t cluster_size, uint32_t table_size,
                          uint64_t l1_offset) {
  Header header;
  header.cluster_size = cluster_size;
  header.table_size = table_size;
  header.l1_table_offset = l1_offset;
  return GeometryOf(header);
}

TEST(QedGeometryTest, Indexes) {
  // 32768 entries of 64 KiB: a table reaches 2 GiB.
  const TableGeometry geometry = GeometryFor(65536, 4, 65536);
  EXPECT_EQ(geometry.table_entries(), 32768u);
  EXPECT_EQ(geometry.table_reach(), uint64_t{2} << 30);
  const uint64_t offset = (uint64_t{7} << 31) + 5 * 65536 + 99;
  EXPECT_EQ(geometry.L1Index(offset), 7u);
  EXPECT_EQ(geometry.L2Index(offset), 5u);
  EXPECT_EQ(geometry.L2Index((uint64_t{1} << 31) - 1), 32767u);
  EXPECT_EQ(geometry.L1Word(7), 65536u / 8 + 7);
  EXPECT_EQ(geometry.L2Word(0x50000, 3), 0x50000u / 8 + 3);
}

TEST(QedGeometryTest, ReachableTables) {
  const TableGeometry geometry = GeometryFor(4096, 1, 4096);
  const uint64_t reach = 512 * 4096;
  EXPECT_EQ(geometry.table_reach(), reach);
  EXPECT_EQ(geometry.ReachableTables(0), 0u);
  EXPECT_EQ(geometry.ReachableTables(1), 1u);
  EXPECT_EQ(geometry.ReachableTables(reach), 1u);
  EXPECT_EQ(geometry.ReachableTables(reach + 1), 2u);
}

// Whatever the header permits, every guest offset has entries in its tables.
TEST(QedGeometryTest, NoValidGeometryOverflows) {
  for (uint32_t cluster = 4096; cluster <= kMaxClusterSize; cluster *= 2) {
    for (uint32_t table = 1; table <= kMaxTableSize; table *= 2) {
      SCOPED_TRACE(absl::StrCat(cluster, " ", table));
      const TableGeometry geometry = GeometryFor(cluster, table, cluster);
      const uint64_t size = MaxImageSize(cluster, table);
      EXPECT_LT(geometry.L1Index(size - 1), geometry.table_entries());
      EXPECT_LE(geometry.ReachableTables(size), geometry.table_entries());
      EXPECT_EQ(geometry.ReachableTables(size), geometry.L1Index(size - 1) + 1);
      EXPECT_LT(geometry.L2Index(size - 1), geometry.table_entries());
    }
  }
}

TEST(QedGeometryTest, Places) {
  // Header 0, L1 in clusters 2 and 3, the file ends after 8.
  Header header;
  header.cluster_size = 4096;
  header.table_size = 2;
  header.l1_table_offset = 8192;
  const TableGeometry geometry = GeometryOf(header);
  const uint64_t end = 8 * 4096;
  for (uint64_t cluster = 0; cluster < 12; ++cluster) {
    const bool free = cluster == 1 || (cluster >= 4 && cluster < 8);
    EXPECT_EQ(geometry.IsPlace(cluster * 4096, 4096, end), free) << cluster;
    EXPECT_FALSE(geometry.IsPlace(cluster * 4096 + 1, 4096, end));
    EXPECT_FALSE(geometry.IsPlace(cluster * 4096 + 2048, 4096, end));
  }
  EXPECT_FALSE(geometry.IsPlace(1 * 4096, 8192, end));
  EXPECT_TRUE(geometry.IsPlace(6 * 4096, 8192, end));
  EXPECT_FALSE(geometry.IsPlace(7 * 4096, 8192, end));
  EXPECT_FALSE(geometry.IsPlace(~uint64_t{4095}, 4096, end));
  EXPECT_FALSE(geometry.IsPlace(~uint64_t{4095}, 8192, ~uint64_t{4095}));
}

}  // namespace
}  // namespace flatcow::qed
