// SPDX-License-Identifier: Apache-2.0
//
// TableSet, ClusterSet, HeaderRoom and ScanWords.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/status.h"
#include "format/cluster_set.h"
#include "format/header_room.h"
#include "format/qed/table_set.h"
#include "format/table_scan.h"
#include "model/disk_model.h"
#include "model/image_testing.h"
#include "support/fault_injection_file_system.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

// ---- TableSet ----

TEST(TableSetTest, FindsTheFirstOverlap) {
  qed::TableSet tables({100, 200, 300}, 4, 10);
  EXPECT_EQ(tables.FirstOverlap({0, 100}), std::nullopt);
  EXPECT_EQ(tables.FirstOverlap({0, 101}), 100u);
  EXPECT_EQ(tables.FirstOverlap({109, 1}), 100u);
  EXPECT_EQ(tables.FirstOverlap({110, 90}), std::nullopt);
  EXPECT_EQ(tables.FirstOverlap({110, 1000}), 200u);
  EXPECT_EQ(tables.FirstOverlap({310, 1000}), std::nullopt);
  tables.Append(400);
  EXPECT_EQ(tables.FirstOverlap({310, 1000}), 400u);
}

TEST(TableSetTest, Empty) {
  const qed::TableSet tables({}, 0, 4096);
  EXPECT_EQ(tables.FirstOverlap({0, ~uint64_t{0}}), std::nullopt);
}

TEST(TableSetTest, AgreesWithAPlainSearch) {
  const uint64_t seed = SeedFor(0);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    const uint64_t table_bytes = uint64_t{1} << (random() % 4);
    std::vector<uint64_t> offsets;
    for (uint64_t at = random() % 8; at < 200;) {
      offsets.push_back(at);
      at += table_bytes + random() % 16;
    }
    const qed::TableSet tables(offsets, offsets.size(), table_bytes);
    for (int i = 0; i < 100; ++i) {
      const Extent extent{random() % 220, 1 + random() % 20};
      std::optional<uint64_t> expected;
      for (const uint64_t table : offsets) {
        if (table < extent.end() && extent.offset < table + table_bytes) {
          expected = table;
          break;
        }
      }
      ASSERT_EQ(tables.FirstOverlap(extent), expected);
    }
  }
}

// ---- ClusterSet ----

TEST(ClusterSetTest, CountsEachClusterOnce) {
  ClusterSet set;
  EXPECT_EQ(set.count(), 0u);
  EXPECT_EQ(set.end(), 0u);
  EXPECT_TRUE(set.Add(5));
  EXPECT_FALSE(set.Add(5));
  EXPECT_TRUE(set.Add(511));
  EXPECT_TRUE(set.Add(512));
  EXPECT_TRUE(set.Add(0));
  EXPECT_EQ(set.count(), 4u);
  EXPECT_EQ(set.end(), 513u);
}

TEST(ClusterSetTest, KnowsWhatWasAddedAfterItWasAsked) {
  ClusterSet set;
  EXPECT_FALSE(set.Contains(700));
  EXPECT_TRUE(set.Add(700));
  EXPECT_TRUE(set.Contains(700));
  EXPECT_FALSE(set.Contains(701));
  EXPECT_FALSE(set.Contains(70000));
  EXPECT_TRUE(set.Contains(700));
  EXPECT_TRUE(set.Add(70000));
  EXPECT_FALSE(set.Add(700));
  EXPECT_TRUE(set.Contains(70000));
}

TEST(ClusterSetTest, FarApartCostsLittle) {
  ClusterSet set;
  for (uint64_t bit = 0; bit < 52; ++bit) {
    EXPECT_TRUE(set.Add(uint64_t{1} << bit));
  }
  EXPECT_FALSE(set.Add(uint64_t{1} << 51));
  EXPECT_EQ(set.count(), 52u);
  EXPECT_EQ(set.end(), (uint64_t{1} << 51) + 1);
}

// ---- HeaderRoom ----

class HeaderRoomTest : public testing::Test {
 protected:
  HeaderRoomTest() {
    files_.SetContents("/a", std::string(200, '.'));
    file_ = Must(files_.Open("/a", Access::kReadWrite));
  }

  MemoryFileSystem files_;
  std::unique_ptr<File> file_;
  HeaderRoom room_{{100, 50}};
};

TEST_F(HeaderRoomTest, TheFirstPlaceThatFits) {
  room_.Take({0, 0});
  room_.Take({130, 5});
  room_.Take({95, 10});
  EXPECT_EQ(Must(room_.Place(*file_, std::string(20, 'a'))), 105u);
  EXPECT_EQ(Must(room_.Place(*file_, std::string(6, 'b'))), 135u);
  EXPECT_EQ(Must(room_.Place(*file_, std::string(5, 'c'))), 125u);
  EXPECT_EQ(Must(room_.Place(*file_, std::string(9, 'd'))), 141u);
  EXPECT_EQ(files_.Contents("/a"),
            std::string(105, '.') + std::string(20, 'a') + "ccccc....." +
                "bbbbbb" + std::string(9, 'd') + std::string(50, '.'));
}

TEST_F(HeaderRoomTest, NoRoomIsAnErrorThatChangesNothing) {
  room_.Take({120, 10});
  EXPECT_TRUE(Fails(room_.Place(*file_, std::string(21, 'a')), ENAMETOOLONG,
                    "/a: the header has no room for a name of 21 bytes"));
  EXPECT_EQ(files_.Contents("/a"), std::string(200, '.'));
  EXPECT_EQ(Must(room_.Place(*file_, std::string(20, 'a'))), 100u);
  EXPECT_EQ(Must(room_.Place(*file_, std::string(20, 'a'))), 130u);
}

// ---- ScanWords ----

using Found = std::vector<std::pair<uint64_t, uint64_t>>;

class ScanTest : public testing::Test {
 protected:
  absl::StatusOr<Found> Scan(Extent extent) {
    const auto file = Must(faulty_.Open("/f", Access::kReadOnly));
    Found found;
    const absl::Status status =
        ScanWords(*file, extent, [&](uint64_t index, uint64_t word) {
          found.emplace_back(index, word);
          return absl::OkStatus();
        });
    if (!status.ok()) return status;
    return found;
  }

  MemoryFileSystem files_;
  FaultInjectionFileSystem faulty_{files_};
};

TEST_F(ScanTest, FindsWordsAndSkipsZeroes) {
  std::string bytes(100'000, '\0');
  Overwrite(bytes, 4096 + 16, Little64(7));
  Overwrite(bytes, 90'000, Little64(~uint64_t{0}));
  files_.SetContents("/f", bytes);
  EXPECT_EQ(Must(Scan({0, 100'000})), (Found{{514, 7}, {11250, ~uint64_t{0}}}));
  EXPECT_EQ(Must(Scan({4096, 24})), (Found{{2, 7}}));
  EXPECT_EQ(Must(Scan({4096, 16})), Found{});
}

// Words are counted from the start of the table, which holes of the file know
// nothing of.
TEST_F(ScanTest, UnalignedTables) {
  std::string bytes(50'000, '\0');
  Overwrite(bytes, 76 + 8 * 2500, Little64(0x1122334455667788));
  files_.SetContents("/f", bytes);
  EXPECT_EQ(Must(Scan({76, 40'000})), (Found{{2500, 0x1122334455667788}}));
}

TEST_F(ScanTest, TheFileMayEndInsideAWord) {
  files_.SetContents("/f", std::string(8, '\0') + std::string("\x01\x02", 2));
  EXPECT_EQ(Must(Scan({0, 4096})), (Found{{1, 0x201}}));
  EXPECT_EQ(Must(Scan({4096, 4096})), Found{});
}

TEST_F(ScanTest, AHoleCostsNothing) {
  files_.SetContents("/f", "");
  const auto file = Must(files_.Open("/f", Access::kReadWrite));
  Must(file->Truncate(uint64_t{1} << 62));
  EXPECT_EQ(Must(Scan({8, uint64_t{1} << 61})), Found{});
  EXPECT_LE(faulty_.Count(kReadFault), 1u);
}

TEST_F(ScanTest, ErrorsEndTheScan) {
  files_.SetContents("/f", std::string(200'000, '\x01'));
  const auto file = Must(files_.Open("/f", Access::kReadOnly));
  int calls = 0;
  EXPECT_TRUE(Fails(ScanWords(*file, {0, 200'000},
                              [&](uint64_t, uint64_t) {
                                ++calls;
                                return MakeError(EPERM, "stop");
                              }),
                    EPERM));
  EXPECT_EQ(calls, 1);
  faulty_.Inject({.kinds = kReadFault, .nth = 2});
  EXPECT_TRUE(Fails(Scan({0, 200'000}), EIO, "/f"));
}

}  // namespace
}  // namespace flatcow
