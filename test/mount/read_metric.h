// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_MOUNT_READ_METRIC_H_
#define FLATCOW_TEST_MOUNT_READ_METRIC_H_

#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <string>

#include "mount/daemon.h"

namespace flatcow {

// A sample of .flatcow/metrics, as its line begins: a name and its labels.
inline uint64_t ReadMetric(const Daemon& daemon, const std::string& sample) {
  std::ifstream page(daemon.File(".flatcow/metrics"));
  for (std::string line; std::getline(page, line);) {
    if (line.rfind(sample + " ", 0) == 0) {
      return std::stoull(line.substr(sample.size() + 1));
    }
  }
  ADD_FAILURE() << "no such sample: " << sample;
  return 0;
}

// How many requests of a kind there were: "read". A request is counted once it
// has been answered, so a test may be ahead of the count: waits, up to a
// minute, until there were `at_least` so many.
inline uint64_t ReadRequestCount(const Daemon& daemon,
                                 const std::string& operation,
                                 uint64_t at_least) {
  const std::string sample =
      "flatcow_request_duration_seconds_count{operation=\"" + operation + "\"}";
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  uint64_t count = ReadMetric(daemon, sample);
  while (count < at_least && !testing::Test::HasFailure() &&
         std::chrono::steady_clock::now() < end) {
    sched_yield();
    count = ReadMetric(daemon, sample);
  }
  return count;
}

}  // namespace flatcow

#endif  // FLATCOW_TEST_MOUNT_READ_METRIC_H_
