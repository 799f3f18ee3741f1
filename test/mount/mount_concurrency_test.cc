// SPDX-License-Identifier: Apache-2.0
//
// Sixteen threads on one view, each with blocks of its own in every cluster, at
// a queue depth of 32 by two opens each; with punches and flushes in between.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "model/disk_model.h"
#include "mount/daemon.h"

namespace flatcow {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kThreads = 32;
constexpr uint64_t kClusters = 96;
constexpr uint64_t kClusterSize = 64 << 10;
constexpr uint64_t kSize = kClusters * kClusterSize;
constexpr int kOperations = 250;

// Blocks n, n + 32, n + 64... belong to thread n: each cluster of 16 blocks is
// shared by sixteen threads.
class Worker {
 public:
  Worker(const std::string& path, uint64_t number, uint64_t seed)
      : number_(number), random_(seed + number) {
    fd_ = open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
    void* memory = nullptr;
    if (posix_memalign(&memory, kBlock, kBlock) == 0) {
      buffer_.reset(static_cast<uint8_t*>(memory));
    }
    content_.assign(kSize / kBlock / kThreads, 0);
  }
  ~Worker() { close(fd_); }

  void Run() {
    for (int i = 1; i <= kOperations && failure_.empty(); ++i) {
      const size_t mine = random_() % content_.size();
      const auto at = static_cast<off_t>((mine * kThreads + number_) * kBlock);
      switch (random_() % 16) {
        case 0:
          Expect(fsync(fd_) == 0, "fsync", at);
          break;
        case 1:
          Expect(fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
                           kBlock) == 0,
                 "punch", at);
          content_[mine] = 0;
          break;
        case 2:
        case 3:
        case 4:
        case 5:
          Verify(mine, at);
          break;
        default:
          content_[mine] = (number_ << 32) + static_cast<uint64_t>(i);
          Fill(content_[mine]);
          Expect(pwrite(fd_, buffer_.get(), kBlock, at) == kBlock, "write", at);
      }
    }
  }

  void VerifyAll() {
    for (size_t mine = 0; mine < content_.size() && failure_.empty(); ++mine) {
      Verify(mine, static_cast<off_t>((mine * kThreads + number_) * kBlock));
    }
  }

  const std::string& failure() const { return failure_; }

 private:
  void Fill(uint64_t tag) {
    for (uint64_t at = 0; at < kBlock; at += sizeof(tag)) {
      std::memcpy(buffer_.get() + at, &tag, sizeof(tag));
    }
  }

  void Verify(size_t mine, off_t at) {
    Expect(pread(fd_, buffer_.get(), kBlock, at) == kBlock, "read", at);
    for (uint64_t i = 0; i < kBlock; i += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, buffer_.get() + i, sizeof(word));
      Expect(word == content_[mine], "compare", at);
    }
  }

  void Expect(bool good, const char* what, off_t at) {
    if (good || !failure_.empty()) return;
    failure_ = std::string(what) + " at " + std::to_string(at) + ": " +
               strerror(errno);
  }

  const uint64_t number_;
  std::mt19937_64 random_;
  int fd_ = -1;
  struct Free {
    void operator()(uint8_t* memory) const { free(memory); }
  };
  std::unique_ptr<uint8_t, Free> buffer_;
  std::vector<uint64_t> content_;  // the tag of each block; 0: zeroes
  std::string failure_;
};

class MountConcurrencyTest : public testing::TestWithParam<std::string> {};

TEST_P(MountConcurrencyTest, ThreadsOnTheSameClustersDoNotDisturbEachOther) {
  SKIP_WITHOUT_FUSE();
  TemporaryDirectory source;
  // The base is zero, so that blocks nobody wrote are known.
  MustRun("truncate -s " + std::to_string(kSize) + " " + (source / "base"));
  if (GetParam() == "qed") {
    MakeQed(source / "disk", "base", "raw", kSize);
  } else {
    MakeAddCow(source / "disk", "base", "image", kSize);
  }
  Daemon daemon(source.path(), {"-o", "max_threads=16"});
  ASSERT_TRUE(daemon.mounted()) << daemon.Log();
  const uint64_t seed = SeedFor(7);
  SCOPED_TRACE(testing::Message() << "FLATCOW_SEED=" << seed);
  // The first round finds fresh clusters, the second allocated ones.
  std::vector<std::unique_ptr<Worker>> workers;
  for (uint64_t n = 0; n < kThreads; ++n) {
    workers.push_back(
        std::make_unique<Worker>(daemon.File("disk.raw"), n, seed));
  }
  for (int round = 0; round < 2; ++round) {
    std::vector<std::thread> threads;
    for (const auto& worker : workers) {
      threads.emplace_back([&] { worker->Run(); });
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (const auto& worker : workers) {
    worker->VerifyAll();
    EXPECT_EQ(worker->failure(), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, MountConcurrencyTest,
                         testing::Values("qed", "addcow"),
                         [](const testing::TestParamInfo<std::string>& format) {
                           return format.param;
                         });

}  // namespace
}  // namespace flatcow
