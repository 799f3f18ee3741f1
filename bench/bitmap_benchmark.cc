// SPDX-License-Identifier: Apache-2.0
//
// How fast is a run of equal bits found in an add-cow bitmap?
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>

#include "format/addcow/bitmap.h"

namespace flatcow::bench {
namespace {

// As many words as a layer reads at once, all like this one.
void SearchRun(benchmark::State& state, uint64_t word) {
  std::array<uint64_t, 64> words;
  words.fill(word);
  for (auto _ : state) {
    benchmark::DoNotOptimize(words.data());
    benchmark::ClobberMemory();
    benchmark::DoNotOptimize(
        addcow::EqualRun(words, 0, words.size() * addcow::kWordBits));
  }
}

BENCHMARK_CAPTURE(SearchRun, all_set, ~uint64_t{0});
BENCHMARK_CAPTURE(SearchRun, all_clear, uint64_t{0});
BENCHMARK_CAPTURE(SearchRun, alternating, uint64_t{0x5555555555555555});

}  // namespace
}  // namespace flatcow::bench

BENCHMARK_MAIN();
