// SPDX-License-Identifier: Apache-2.0
//
// What do look-ups, changes and rounds of the metadata cache cost, and do
// threads get in each other's way?
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "memory_pages.h"

namespace flatcow::bench {
namespace {

constexpr uint64_t kPages = 64;
constexpr uint64_t kAmpleCache = 1024;  // pages
constexpr uint64_t kSmallCache = 8;     // one set: eight pages

// Of the benchmark that is running, for all of its threads.
std::unique_ptr<MemoryPages> shared;

template <uint64_t cache_pages>
void SetUp(const benchmark::State&) {
  shared = std::make_unique<MemoryPages>(kPages, cache_pages);
  for (uint64_t page = 0; page < kPages; ++page) {
    Need(shared->pages().ReadWord(shared->FirstWord(page)).status());
  }
}
void TearDown(const benchmark::State&) { shared.reset(); }

// Each thread begins somewhere else.
uint64_t FirstPage(const benchmark::State& state) {
  return static_cast<uint64_t>(state.thread_index()) * 7;
}

void LookUp(benchmark::State& state) {
  uint64_t next = FirstPage(state);
  for (auto _ : state) {
    const uint64_t word =
        shared->FirstWord(next) + next % MetadataCache::kPageWords;
    benchmark::DoNotOptimize(Need(shared->pages().ReadWord(word)));
    ++next;
  }
}
BENCHMARK(LookUp)
    ->Name("LookUpHit")
    ->Setup(SetUp<kAmpleCache>)
    ->Teardown(TearDown)
    ->ThreadRange(1, 4)
    ->UseRealTime();
BENCHMARK(LookUp)
    ->Name("LookUpMiss")
    ->Setup(SetUp<kSmallCache>)
    ->Teardown(TearDown)
    ->ThreadRange(1, 4)
    ->UseRealTime();

// A page that is dirty already, as most are between two rounds.
void Modify(benchmark::State& state) {
  uint64_t next = FirstPage(state);
  for (auto _ : state) shared->Modify(next++);
}
BENCHMARK(Modify)
    ->Setup(SetUp<kAmpleCache>)
    ->Teardown(TearDown)
    ->ThreadRange(1, 4)
    ->UseRealTime();

// Pages are made dirty, copied, written to memory and clean again; the time is
// that of all of them.
void Round(benchmark::State& state) {
  const uint64_t pages = static_cast<uint64_t>(state.range(0));
  MemoryPages memory(pages, /*cache_pages=*/4 * pages + kAmpleCache);
  for (auto _ : state) {
    memory.ModifyAll();
    memory.Round();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(Round)->RangeMultiplier(8)->Range(1, 512)->ArgName("dirty");

}  // namespace
}  // namespace flatcow::bench

BENCHMARK_MAIN();
