// SPDX-License-Identifier: Apache-2.0
//
// Many threads on one image. Every thread owns blocks that lie between those of
// the others, in the same clusters, and knows at any time what each must hold.
#include <gtest/gtest.h>

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "model/chain_shape.h"
#include "model/disk_model.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

constexpr uint64_t kThreads = 16;

struct Scenario {
  std::string name;
  std::string format;
  uint32_t cluster_size;
  uint64_t block_size;
  uint64_t blocks;    // a multiple of kThreads
  int base_clusters;  // more or less than the disk, -1 for no backing
  bool real_files = false;
  bool subclusters = false;
  int operations = 200;  // of each thread
};

void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.name;
}

// Runs functions side by side, and collects how they failed.
class Threads {
 public:
  void Start(std::function<void()> body) {
    threads_.emplace_back([this, body = std::move(body)] {
      try {
        body();
      } catch (const std::exception& error) {
        std::lock_guard<std::mutex> lock(mutex_);
        absl::StrAppend(&errors_, error.what(), "\n");
      }
    });
  }
  std::string Join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    return errors_;
  }

 private:
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::string errors_;
};

[[noreturn]] void Wrong(const std::string& what) {
  throw std::runtime_error(what);
}

class ConcurrencyTest : public testing::TestWithParam<Scenario> {
 protected:
  void SetUp() override {
    scenario_ = GetParam();
    if (scenario_.real_files) {
      directory_ = std::make_unique<TemporaryDirectory>();
      files_ = &PosixFileSystem();
    } else {
      memory_ = std::make_unique<MemoryFileSystem>();
      files_ = memory_.get();
    }
    path_ = Path("top");
    const uint64_t size = scenario_.blocks * scenario_.block_size;
    content_.resize(size, '\0');
    const bool has_base = scenario_.base_clusters >= 0;
    if (has_base) {
      const std::string base =
          PatternText(99, static_cast<uint64_t>(scenario_.base_clusters) *
                                  scenario_.cluster_size +
                              512);
      Make(*files_, Path("base"), {.size = base.size()});
      PokeFile(*files_, Path("base"), 0, base);
      Overwrite(content_, 0, base.substr(0, size));
    }
    NewImage options{.format = scenario_.format,
                     .size = size,
                     .backing_file = has_base ? "base" : "",
                     .backing_format = has_base ? "raw" : "",
                     .cluster_size = scenario_.cluster_size};
    if (scenario_.format == "qed") {
      options.table_size = 2;
    } else {
      options.data_file = "data";
      if (has_base) {
        // What the image file holds already must not be seen.
        Make(*files_, Path("data"), {.size = size});
        PokeFile(*files_, Path("data"), 0, PatternText(13, size));
      }
    }
    Make(*files_, path_, options);
    if (scenario_.subclusters) AddSubclusters(*files_, path_);
    Open(Access::kReadWrite);
    // Some clusters are allocated before anything else.
    for (uint64_t at = 0; at < size; at += 5 * scenario_.cluster_size) {
      Write(at, PatternText(at, scenario_.block_size));
    }
  }

  std::string Path(const std::string& name) const {
    return directory_ != nullptr ? *directory_ / name : "/" + name;
  }

  void Open(Access access) {
    image_.reset();
    OpenOptions options;
    options.access = access;
    // So small that pages are evicted.
    options.metadata_cache = NewMetadataCache(1);
    image_ = Must(OpenImage(*files_, path_, options));
  }

  void Write(uint64_t offset, const std::string& data) {
    WriteDisk(*image_, offset, data);
    Overwrite(content_, offset, data);
  }

  // One thread's work: block n * kThreads + `thread` for all n. Each touches
  // only its own bytes of content_.
  void WorkOnOwnBlocks(uint64_t thread, uint64_t seed) {
    std::mt19937_64 random(seed + thread);
    const uint64_t own_blocks = scenario_.blocks / kThreads;
    for (int i = 0; i < scenario_.operations; ++i) {
      const uint64_t block = random() % own_blocks * kThreads + thread;
      const uint64_t offset = block * scenario_.block_size;
      Compare({offset, scenario_.block_size}, "before");
      const uint64_t skip = random() % 3 == 0 ? random() % 100 : 0;
      const Extent extent{offset + skip, scenario_.block_size - skip};
      if (random() % 4 == 0) {
        Must(image_->WriteZeroes(extent));
        std::fill_n(content_.begin() + static_cast<ptrdiff_t>(extent.offset),
                    extent.length, '\0');
      } else if (random() % 16 == 0) {
        Must(image_->Allocate(extent));
      } else {
        Write(extent.offset, PatternText(random(), extent.length));
      }
      Compare({offset, scenario_.block_size}, "after");
    }
  }

  void Compare(Extent extent, const std::string& when) {
    const std::string got = ReadDisk(*image_, extent);
    if (content_.compare(extent.offset, extent.length, got) != 0) {
      Wrong(absl::StrCat("block at ", extent.offset, " is wrong ", when,
                         " an operation"));
    }
  }

  void MapAgainAndAgain(uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < scenario_.operations; ++i) {
      const uint64_t offset = random() % content_.size();
      const uint64_t length = random() % (content_.size() - offset) + 1;
      uint64_t sum = 0;
      for (const Segment& segment : Must(image_->Map({offset, length}))) {
        sum += segment.length;
      }
      if (sum != length) Wrong("map does not cover the extent");
    }
  }

  void FlushAgainAndAgain() {
    for (int i = 0; i < 20; ++i) Must(image_->Flush());
  }

  // What is new reads as zeroes, whatever the backing file has there.
  void Grow() {
    for (uint64_t i = 1; i <= 6; ++i) {
      const uint64_t old_size = image_->Size();
      const uint64_t new_size = old_size + i * scenario_.cluster_size - 512;
      Must(image_->Resize(new_size));
      const Extent added{old_size, new_size - old_size};
      if (ReadDisk(*image_, added) != std::string(added.length, '\0')) {
        Wrong("new bytes are not zero");
      }
    }
  }

  Scenario scenario_;
  std::unique_ptr<MemoryFileSystem> memory_;
  std::unique_ptr<TemporaryDirectory> directory_;
  FileSystem* files_ = nullptr;
  std::string path_;
  std::string content_;  // what the disk must show
  std::unique_ptr<Image> image_;
};

TEST_P(ConcurrencyTest, EveryThreadSeesItsOwnBlocks) {
  const uint64_t seed = SeedFor(0);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  Threads threads;
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.Start([this, thread, seed] { WorkOnOwnBlocks(thread, seed); });
  }
  threads.Start([this, seed] { MapAgainAndAgain(seed); });
  threads.Start([this] { FlushAgainAndAgain(); });
  threads.Start([this] { Grow(); });
  ASSERT_EQ(threads.Join(), "");

  content_.resize(image_->Size(), '\0');
  EXPECT_TRUE(Shows(*image_, content_));
  Must(image_->Flush());
  Open(Access::kReadOnly);
  EXPECT_TRUE(Shows(*image_, content_));
  image_.reset();
  EXPECT_TRUE(IsClean(*files_, path_));
}

// All threads begin on the same fresh cluster, one after the other of them.
TEST_P(ConcurrencyTest, AllThreadsAllocateTheSameClusters) {
  const uint64_t stripe = kThreads * scenario_.block_size;
  Threads threads;
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.Start([this, thread, stripe] {
      for (uint64_t at = 0; at + stripe <= content_.size(); at += stripe) {
        Write(at + thread * scenario_.block_size,
              PatternText(at + thread, scenario_.block_size));
      }
    });
  }
  ASSERT_EQ(threads.Join(), "");
  EXPECT_TRUE(Shows(*image_, content_));
  Open(Access::kReadOnly);
  EXPECT_TRUE(Shows(*image_, content_));
  image_.reset();
  EXPECT_TRUE(IsClean(*files_, path_));
}

// In memory only: Linux does not promise this for its own files.
class SectorConcurrencyTest : public ConcurrencyTest {};

// Readers see each sector old or new, never anything else.
TEST_P(SectorConcurrencyTest, ReadersSeeOldOrNewSectors) {
  constexpr uint64_t kSector = 512;
  const std::string before = content_;
  const std::string after = PatternText(1, content_.size());
  Threads threads;
  for (int reader = 0; reader < 4; ++reader) {
    threads.Start([&, reader] {
      std::mt19937_64 random(static_cast<uint64_t>(reader));
      for (int i = 0; i < scenario_.operations; ++i) {
        const uint64_t at = random() % (content_.size() / kSector) * kSector;
        const std::string got = ReadDisk(*image_, {at, kSector});
        if (before.compare(at, kSector, got) != 0 &&
            after.compare(at, kSector, got) != 0) {
          Wrong(absl::StrCat("sector at ", at, " is neither old nor new"));
        }
      }
    });
  }
  threads.Start([&] {
    for (uint64_t at = 0; at < after.size(); at += 3 * kSector) {
      WriteDisk(*image_, at, after.substr(at, 3 * kSector));
    }
  });
  ASSERT_EQ(threads.Join(), "");
  EXPECT_TRUE(Shows(*image_, after));
}

std::vector<Scenario> AllScenarios() {
  std::vector<Scenario> scenarios;
  for (const bool real_files : {false, true}) {
    for (const std::string format : {"qed", "add-cow", "qcow2"}) {
      const std::string name =
          absl::StrCat(format == "add-cow" ? "addcow" : format,
                       real_files ? "_on_disk" : "");
      // 16 blocks in a cluster; the backing file goes on behind the disk.
      scenarios.push_back({.name = name + "_64k_clusters_4k_blocks",
                           .format = format,
                           .cluster_size = 65536,
                           .block_size = 4096,
                           .blocks = 512,
                           .base_clusters = 40,
                           .real_files = real_files});
      // Several tables; the backing file ends within the disk.
      scenarios.push_back({.name = name + "_4k_clusters_512_blocks",
                           .format = format,
                           .cluster_size = 4096,
                           .block_size = 512,
                           .blocks = 10240,
                           .base_clusters = 700,
                           .real_files = real_files});
    }
  }
  scenarios.push_back({.name = "qcow2_with_subclusters",
                       .format = "qcow2",
                       .cluster_size = 65536,
                       .block_size = 4096,
                       .blocks = 512,
                       .base_clusters = 40,
                       .subclusters = true});
  scenarios.push_back({.name = "qed_without_backing",
                       .format = "qed",
                       .cluster_size = 4096,
                       .block_size = 512,
                       .blocks = 10240,
                       .base_clusters = -1});
  return scenarios;
}

std::vector<Scenario> ScenariosInMemory() {
  std::vector<Scenario> scenarios = AllScenarios();
  std::erase_if(scenarios, [](const Scenario& s) { return s.real_files; });
  return scenarios;
}

INSTANTIATE_TEST_SUITE_P(Scenarios, SectorConcurrencyTest,
                         testing::ValuesIn(ScenariosInMemory()),
                         [](const auto& scenario) {
                           return scenario.param.name;
                         });
INSTANTIATE_TEST_SUITE_P(Scenarios, ConcurrencyTest,
                         testing::ValuesIn(AllScenarios()),
                         [](const auto& scenario) {
                           return scenario.param.name;
                         });

}  // namespace
}  // namespace flatcow
