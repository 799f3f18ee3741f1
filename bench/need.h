// SPDX-License-Identifier: Apache-2.0
//
// What a measurement can't go on without: ends the program, with the message,
// when it isn't OK.
//
//   Layer& layer = ...;
//   Need(layer.Publish(Need(layer.Reserve(cluster))));
#ifndef FLATCOW_BENCH_NEED_H_
#define FLATCOW_BENCH_NEED_H_

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace flatcow::bench {

inline void Need(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::abort();
}

template <typename T>
T Need(absl::StatusOr<T> result) {
  Need(result.status());
  return *std::move(result);
}

}  // namespace flatcow::bench

#endif  // FLATCOW_BENCH_NEED_H_
