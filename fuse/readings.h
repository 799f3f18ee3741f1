// SPDX-License-Identifier: Apache-2.0
//
// What there is to say about the daemon at one moment, and the pages that say
// it: for monitoring, for people and scripts, for the log.
#ifndef FLATCOW_FUSE_READINGS_H_
#define FLATCOW_FUSE_READINGS_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "flatcow/image.h"
#include "metrics.h"
#include "open_views.h"

namespace flatcow::daemon {

struct Readings {
  std::array<Metrics::Requests, kOperations> requests;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t passthrough_opens = 0;
  std::map<std::string, uint64_t> errors;  // by view
  CacheStatistics cache;
  ImageStatistics images;  // of all that are or were open
  std::vector<OpenViewState> views;
  int64_t start_time = 0;  // seconds since 1970
  bool read_only = false;
  bool passthrough = false;  // views may be served by the kernel
  std::string source;

  const Metrics::Requests& Of(Operation operation) const {
    return requests[static_cast<size_t>(operation)];
  }
};

// In the text format of Prometheus, version 0.0.4.
std::string MetricsPage(const Readings& readings);

// One JSON object; bytes of names that are not UTF-8 become U+FFFD.
std::string StatusPage(const Readings& readings);

// One line.
std::string SummaryLine(const Readings& readings);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_READINGS_H_
