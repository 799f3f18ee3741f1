// SPDX-License-Identifier: Apache-2.0
//
// What does a write into clusters of the image's own cost, from the guest's
// request to the file, and do writers get in each other's way? (A file in
// memory has a lock, which is part of the answer.)
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>

#include "memory_image.h"

namespace flatcow::bench {
namespace {

constexpr uint64_t kClusters = 1024;

// Of the benchmark that is running, for all of its threads.
std::unique_ptr<MemoryImage> shared;

void MakeImage(const std::string& format) {
  shared = std::make_unique<MemoryImage>(format, kClusters, kClusters);
}

void WriteInPlace(benchmark::State& state) {
  // Each thread begins somewhere else.
  uint64_t next = static_cast<uint64_t>(state.thread_index()) * 100;
  for (auto _ : state) shared->WriteSector(next++ % kClusters);
}

void Threads(benchmark::internal::Benchmark* write) {
  write->Teardown([](const benchmark::State&) { shared.reset(); })
      ->ThreadRange(1, 4)
      ->UseRealTime();
}

BENCHMARK(WriteInPlace)
    ->Name("WriteInPlace/qed")
    ->Setup([](const benchmark::State&) { MakeImage("qed"); })
    ->Apply(Threads);
BENCHMARK(WriteInPlace)
    ->Name("WriteInPlace/add_cow")
    ->Setup([](const benchmark::State&) { MakeImage("add-cow"); })
    ->Apply(Threads);

}  // namespace
}  // namespace flatcow::bench

BENCHMARK_MAIN();
