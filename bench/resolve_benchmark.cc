// SPDX-License-Identifier: Apache-2.0
//
// How long does it take to find where a read's bytes are, and what does a
// longer chain cost?
#include <benchmark/benchmark.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "flatcow/extent.h"
#include "memory_chain.h"

namespace flatcow::bench {
namespace {

// Made once: all threads use it, and a 64-layer one takes longer to make than
// to measure.
const MemoryChain& ChainOf(const ChainRecipe& recipe) {
  static Mutex mutex;
  static auto* const chains =
      new std::map<ChainRecipe, std::unique_ptr<const MemoryChain>>();
  MutexLock lock(mutex);
  auto& chain = (*chains)[recipe];
  if (chain == nullptr) chain = std::make_unique<const MemoryChain>(recipe);
  return *chain;
}

void Resolve(benchmark::State& state, const std::string& format) {
  const uint64_t bytes = static_cast<uint64_t>(state.range(2));
  const MemoryChain& chain =
      ChainOf({.format = format,
               .overlays = static_cast<uint64_t>(state.range(0)),
               .random = state.range(1) != 0});
  GuestOffsets offsets(bytes);
  uint64_t segment_count = 0;
  for (auto _ : state) {
    SegmentList segments;
    chain.Resolve({offsets.Next(), bytes}, segments);
    benchmark::DoNotOptimize(segments.data());
    segment_count += segments.size();
  }
  state.counters["segments"] = benchmark::Counter(
      static_cast<double>(segment_count), benchmark::Counter::kAvgIterations);
}

void AllShapes(benchmark::internal::Benchmark* resolve) {
  resolve->ArgNames({"overlays", "random", "bytes"})
      ->ArgsProduct({{1, 4, 16, 64}, {0, 1}, {4096, 1 << 20}});
}
// Readers share the chain, the cache and its entries.
void ManyReaders(benchmark::internal::Benchmark* resolve) {
  resolve->ArgNames({"overlays", "random", "bytes"})
      ->Args({16, 1, 4096})
      ->ThreadRange(1, 4)
      ->UseRealTime();
}

BENCHMARK_CAPTURE(Resolve, qed, "qed")->Apply(AllShapes);
BENCHMARK_CAPTURE(Resolve, add_cow, "add-cow")->Apply(AllShapes);
BENCHMARK_CAPTURE(Resolve, qed_readers, "qed")->Apply(ManyReaders);
BENCHMARK_CAPTURE(Resolve, add_cow_readers, "add-cow")->Apply(ManyReaders);

}  // namespace
}  // namespace flatcow::bench

BENCHMARK_MAIN();
