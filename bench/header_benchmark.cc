// SPDX-License-Identifier: Apache-2.0
//
// What does it take to parse and check a header? A daemon does it for each file
// of a directory.
#include <benchmark/benchmark.h>

#include "need.h"
#include "sample_headers.h"

namespace flatcow::bench {
namespace {

void ParseQedHeader(benchmark::State& state) {
  const auto bytes = SampleQedHeader();
  for (auto _ : state) {
    auto header = Need(qed::ParseHeader(bytes, kSampleFileBytes));
    benchmark::DoNotOptimize(header);
  }
}
BENCHMARK(ParseQedHeader);

void ParseAddCowHeader(benchmark::State& state) {
  const auto bytes = SampleAddCowHeader();
  for (auto _ : state) {
    auto header = Need(addcow::ParseHeader(bytes, kSampleFileBytes));
    benchmark::DoNotOptimize(header);
  }
}
BENCHMARK(ParseAddCowHeader);

}  // namespace
}  // namespace flatcow::bench

BENCHMARK_MAIN();
