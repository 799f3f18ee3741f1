// SPDX-License-Identifier: Apache-2.0
//
// What does it cost to count a request of the daemon? counting.py says how much
// that is of a request.
#include <benchmark/benchmark.h>

#include "metrics.h"

namespace flatcow::daemon {
namespace {

void CountRequest(benchmark::State& state) {
  static Metrics metrics;
  for (auto _ : state) {
    const RequestTimer timer(metrics, Operation::kRead);
    metrics.CountBytesRead(4096);
  }
}
BENCHMARK(CountRequest)->ThreadRange(1, 4)->UseRealTime();

}  // namespace
}  // namespace flatcow::daemon

BENCHMARK_MAIN();
