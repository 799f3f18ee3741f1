// SPDX-License-Identifier: Apache-2.0
//
// Compressed clusters of qcow2 images, by many threads at once.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "flatcow/image.h"
#include "format/qcow2/header.h"
#include "format/qcow2/l2_entry.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"
#include "support/packed_cluster.h"

namespace flatcow {
namespace {

constexpr uint64_t kCluster = 65536;
constexpr uint64_t kClusters = 24;

std::string Big64(uint64_t value) { return Little64(SwapBytes(value)); }

class CompressedTest : public testing::TestWithParam<bool> {
 protected:
  // A header, its tables in a cluster each, then the compressed clusters; every
  // fifth is not there.
  CompressedTest() {
    qcow2::Header header;
    header.size = kClusters * kCluster - 512;
    header.l1_entries = 1;
    header.l1_offset = kCluster;
    header.refcount_table_offset = 3 * kCluster;
    header.refcount_table_clusters = 1;
    if (GetParam()) {
      header.incompatible = qcow2::kIncompatibleCompression;
      header.compression_type = qcow2::kCompressionZstd;
    }
    const auto head = qcow2::SerializeHeader(header);
    std::string bytes(4 * kCluster, '\0');
    Overwrite(bytes, 0, std::string(head.begin(), head.end()));
    Overwrite(bytes, kCluster, Big64(2 * kCluster | qcow2::kEntryCopied));
    for (uint64_t i = 0; i < kClusters; ++i) {
      if (i % 5 == 4) {
        content_.append(kCluster, '\0');
        continue;
      }
      std::string cluster = PatternText(i, 3000);
      while (cluster.size() < kCluster) cluster += cluster;
      cluster.resize(kCluster);
      content_ += cluster;
      const std::string packed = PackedCluster(cluster, GetParam());
      const uint64_t sectors = (bytes.size() % 512 + packed.size() - 1) / 512;
      Overwrite(bytes, 2 * kCluster + i * 8,
                Big64(qcow2::kEntryCompressed | sectors << 54 | bytes.size()));
      bytes += packed + "behind it";
    }
    content_.resize(header.size);
    files_.SetContents("/a", bytes);
  }

  MemoryFileSystem files_;
  std::string content_;
};

TEST_P(CompressedTest, EveryRangeReadsAsItWasBefore) {
  for (const size_t cache_bytes :
       {size_t{1}, size_t{256} << 10, size_t{8} << 20}) {
    const auto image = Must(OpenImage(
        files_, "/a", {.metadata_cache = NewMetadataCache(cache_bytes)}));
    EXPECT_TRUE(Shows(*image, content_));
    std::atomic<int> wrong = 0;
    std::vector<std::thread> threads;
    for (uint64_t seed = 0; seed < 4; ++seed) {
      threads.emplace_back([&, seed] {
        std::mt19937_64 random(seed);
        for (int i = 0; i < 40; ++i) {
          const uint64_t at = random() % content_.size();
          const uint64_t most = i % 2 == 0 ? 9000 : 5 * kCluster;
          const uint64_t length =
              std::min(random() % most + 1, content_.size() - at);
          if (ReadDisk(*image, {at, length}) != content_.substr(at, length)) {
            ++wrong;
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
  }
}

TEST_P(CompressedTest, WhatIsKeptOfAClusterIsNotDecompressedAgain) {
  const auto image = Must(OpenImage(files_, "/a", {}));
  EXPECT_EQ(ReadDisk(*image, {100, 50}), content_.substr(100, 50));
  std::string bytes = files_.Contents("/a");
  std::fill(bytes.begin() + 4 * kCluster, bytes.end(), '\xff');
  PokeFile(files_, "/a", 0, bytes);
  EXPECT_EQ(ReadDisk(*image, {5000, 50}), content_.substr(5000, 50));
}

TEST_P(CompressedTest, ADamagedClusterIsAnErrorThatNamesIt) {
  std::string bytes = files_.Contents("/a");
  bytes.resize(4 * kCluster + 100);
  files_.SetContents("/a", bytes);
  const auto image = Must(OpenImage(files_, "/a", {}));
  std::string buffer(3 * kCluster, '\0');
  for (const size_t length : {size_t{9}, buffer.size()}) {
    const auto target =
        absl::MakeSpan(reinterpret_cast<uint8_t*>(buffer.data()), length);
    EXPECT_TRUE(Fails(image->Read(kCluster, target), EIO,
                      "/a: compressed cluster for byte 65536"));
  }
  EXPECT_EQ(ReadDisk(*image, {4 * kCluster, 9}), std::string(9, '\0'));
}

TEST_P(CompressedTest, SegmentsOfThemNameNoHostFile) {
  const auto image = Must(OpenImage(files_, "/a", {}));
  const SegmentList segments = Must(image->Map({0, 6 * kCluster}));
  ASSERT_EQ(segments.size(), 3u);
  EXPECT_EQ(segments[0].length, 4 * kCluster);
  EXPECT_FALSE(segments[0].file->IsHostFile());
  EXPECT_FALSE(segments[1].allocated);
  EXPECT_EQ(image->FlatFile(/*never_written=*/true), -1);
}

INSTANTIATE_TEST_SUITE_P(Compressors, CompressedTest, testing::Bool(),
                         [](const auto& zstd) {
                           return zstd.param ? "zstd" : "deflate";
                         });

}  // namespace
}  // namespace flatcow
