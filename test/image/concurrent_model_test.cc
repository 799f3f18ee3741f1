// SPDX-License-Identifier: Apache-2.0
//
// The model test with many threads, on every format and shape of chain. Each
// thread has its own sectors in the clusters of all, some clusters for itself,
// and a byte array that says what they hold; meanwhile the image turns
// writable, grows and is flushed.
#include <gtest/gtest.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "flatcow/image.h"
#include "model/chain_shape.h"
#include "model/disk_model.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

constexpr uint64_t kThreads = 8;
constexpr uint64_t kSector = 512;
constexpr uint64_t kCluster = 4096;
constexpr int kOperations = 150;

class ConcurrentModelTest : public testing::TestWithParam<ChainShape> {
 protected:
  void SetUp() override {
    const std::vector<uint8_t> content = MakeChain(files_, GetParam());
    content_.assign(content.begin(), content.end());
    OpenOptions options;
    options.metadata_cache = NewMetadataCache(1);
    image_ = Must(OpenImage(files_, kChainImage, options));
  }

  void Start(std::function<void()> body) {
    threads_.emplace_back([this, body = std::move(body)] {
      try {
        body();
      } catch (const std::exception& error) {
        const std::lock_guard<std::mutex> lock(mutex_);
        absl::StrAppend(&errors_, error.what(), "\n");
      }
    });
  }

  // A sector of every cluster, or every fourth cluster of a thread's.
  static Extent OwnExtent(uint64_t thread, uint64_t clusters,
                          std::mt19937_64& random) {
    const uint64_t cluster = random() % clusters;
    if (cluster % 4 == 3) {
      const uint64_t turn = cluster / 4 / kThreads * kThreads + thread;
      const uint64_t own = turn * 4 + 3;
      if (own < clusters) return {own * kCluster, kCluster};
    }
    const uint64_t shared = cluster % 4 == 3 ? cluster - 1 : cluster;
    return {shared * kCluster + thread * kSector, kSector};
  }

  void Compare(Extent extent) {
    const std::string got = ReadDisk(*image_, extent);
    if (content_.compare(extent.offset, extent.length, got) != 0) {
      throw std::runtime_error(absl::StrCat("wrong bytes at ", extent.offset));
    }
  }

  void Change(Extent extent, std::mt19937_64& random) {
    const uint64_t kind = random() % 8;
    if (kind == 0) {
      Must(image_->Allocate(extent));
      return;
    }
    const std::string data = kind <= 2 ? std::string(extent.length, '\0')
                                       : PatternText(random(), extent.length);
    if (kind <= 2) {
      Must(image_->WriteZeroes(extent));
    } else {
      WriteDisk(*image_, extent.offset, data);
    }
    Overwrite(content_, extent.offset, data);
  }

  void Work(uint64_t thread, uint64_t seed) {
    std::mt19937_64 random(seed + thread);
    const uint64_t clusters = content_.size() / kCluster;
    // Some read a while before anybody can write.
    for (int i = 0; i < 10; ++i) Compare(OwnExtent(thread, clusters, random));
    Must(image_->MakeWritable());
    for (int i = 0; i < kOperations; ++i) {
      const Extent own = OwnExtent(thread, clusters, random);
      const uint64_t skip = random() % 3 == 0 ? random() % 100 : 0;
      Compare(own);
      Change({own.offset + skip, own.length - skip}, random);
      Compare(own);
      if (random() % 20 == 0) Must(image_->Flush());
    }
  }

  void Grow() {
    Must(image_->MakeWritable());
    for (uint64_t i = 1; i <= 5; ++i) {
      Must(image_->Resize(image_->Size() + i * 3 * kSector));
    }
  }

  MemoryFileSystem files_;
  std::string content_;  // each thread touches its own bytes only
  std::unique_ptr<Image> image_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::string errors_;
};

TEST_P(ConcurrentModelTest, AgreesWithAByteArray) {
  const uint64_t seed = SeedFor(0);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    Start([this, thread, seed] { Work(thread, seed); });
  }
  Start([this] { Grow(); });
  for (std::thread& thread : threads_) thread.join();
  ASSERT_EQ(errors_, "");

  content_.resize(image_->Size(), '\0');
  EXPECT_TRUE(Shows(*image_, content_));
  Must(image_->Flush());
  image_.reset();
  image_ = Must(OpenImage(files_, kChainImage, {}));
  EXPECT_TRUE(Shows(*image_, content_));
  image_.reset();
  EXPECT_TRUE(IsClean(files_, kChainImage));
}

std::vector<ChainShape> Shapes() {
  std::vector<ChainShape> shapes;
  const std::vector<std::vector<std::string>> chains = {
      {"qed"},
      {"add-cow"},
      {"qed", "add-cow"},
      {"add-cow", "qed"},
      {"qed", "qed", "add-cow"},
      {"qcow2"},
      {"add-cow/qcow2"}};
  for (const auto& formats : chains) {
    // No raw file, one that ends within the disk, one that goes on behind it.
    for (const uint64_t base_clusters : {0, 41, 200}) {
      std::string name = absl::StrCat("base_", base_clusters);
      for (const std::string& format : formats) {
        absl::StrAppend(
            &name, "_",
            absl::StrReplaceAll(format, {{"-", ""}, {"/", "_in_"}}));
      }
      shapes.push_back({.name = name,
                        .formats = formats,
                        .cluster_size = kCluster,
                        .base_clusters = base_clusters,
                        .base_odd = base_clusters != 0 ? 333u : 0u,
                        .disk_clusters = 96,
                        .disk_odd = kSector});
    }
  }
  return shapes;
}

INSTANTIATE_TEST_SUITE_P(Shapes, ConcurrentModelTest,
                         testing::ValuesIn(Shapes()),
                         [](const auto& shape) { return shape.param.name; });

}  // namespace
}  // namespace flatcow
