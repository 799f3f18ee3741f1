// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "readings.h"

namespace flatcow::daemon {

std::string SummaryLine(const Readings& readings) {
  const auto requests = [&readings](Operation operation) {
    const Metrics::Requests& all = readings.Of(operation);
    const uint64_t count = all.count();
    return count == 0 ? std::string("0")
                      : absl::StrCat(count, " of ",
                                     all.nanoseconds / count / 1000, " us");
  };
  uint64_t errors = 0;
  for (const auto& [view, count] : readings.errors) errors += count;
  const uint64_t opens = readings.Of(Operation::kOpen).count();
  return absl::StrCat(
      "open views ", readings.views.size(), ", opens ", opens, " (",
      readings.passthrough_opens, " passthrough), reads ",
      requests(Operation::kRead), " (", readings.bytes_read, " bytes), writes ",
      requests(Operation::kWrite), " (", readings.bytes_written,
      " bytes), fsyncs ", requests(Operation::kFsync), ", clusters allocated ",
      readings.images.allocated_clusters, " (", readings.images.copied_bytes,
      " bytes copied), flush rounds ", readings.images.flush_rounds,
      ", metadata pages read ", readings.cache.misses, " (",
      readings.cache.hits, " hits), dirty ", readings.cache.dirty_pages,
      ", errors ", errors);
}

}  // namespace flatcow::daemon
