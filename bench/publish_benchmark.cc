// SPDX-License-Identifier: Apache-2.0
//
// What does a write to a new cluster cost besides its data: space is reserved
// and the mapping published.
#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "memory_overlay.h"
#include "support/memory_file_system.h"

namespace flatcow::bench {
namespace {

constexpr uint64_t kClustersPerThread = 1 << 16;
constexpr uint64_t kThreads = 4;  // at most

struct Disk {
  MemoryFileSystem files;
  std::unique_ptr<MemoryOverlay> overlay;
  std::atomic<uint64_t> next{0};
};
// Of the benchmark that is running, for all of its threads.
std::unique_ptr<Disk> shared;

void MakeDisk(const std::string& format) {
  shared = std::make_unique<Disk>();
  CreateOverlay(shared->files, "/disk",
                {.format = format, .clusters = kThreads * kClustersPerThread});
  shared->overlay = std::make_unique<MemoryOverlay>(shared->files, "/disk");
}

void Publish(benchmark::State& state) {
  for (auto _ : state) shared->overlay->AllocateCluster(shared->next++);
}

void Threads(benchmark::internal::Benchmark* publish) {
  publish->Teardown([](const benchmark::State&) { shared.reset(); })
      ->Iterations(kClustersPerThread)
      ->ThreadRange(1, kThreads)
      ->UseRealTime();
}

BENCHMARK(Publish)
    ->Name("Publish/qed")
    ->Setup([](const benchmark::State&) { MakeDisk("qed"); })
    ->Apply(Threads);
BENCHMARK(Publish)
    ->Name("Publish/add_cow")
    ->Setup([](const benchmark::State&) { MakeDisk("add-cow"); })
    ->Apply(Threads);

}  // namespace
}  // namespace flatcow::bench

BENCHMARK_MAIN();
