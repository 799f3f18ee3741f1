// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "readings.h"

namespace flatcow::daemon {
namespace {

// Keeps keys in the order they were added.
using Json = nlohmann::ordered_json;

Json RequestsOf(const Readings& readings) {
  Json all = Json::object();
  for (size_t i = 0; i < kOperations; ++i) {
    const Metrics::Requests& requests = readings.requests[i];
    const uint64_t count = requests.count();
    if (count == 0) continue;
    all[std::string(NameOf(static_cast<Operation>(i)))] = {
        {"count", count}, {"mean-ns", requests.nanoseconds / count}};
  }
  return all;
}

Json ViewsOf(const Readings& readings) {
  Json views = Json::array();
  for (const OpenViewState& view : readings.views) {
    views.push_back({{"view", view.name},
                     {"image", view.image},
                     {"format", view.format},
                     {"virtual-size", view.virtual_size},
                     {"opens", view.opens},
                     {"writable", view.writable},
                     {"passthrough", view.passthrough},
                     {"dirty-metadata", view.dirty_metadata},
                     {"allocated-clusters", view.statistics.allocated_clusters},
                     {"copied-bytes", view.statistics.copied_bytes},
                     {"flush-rounds", view.statistics.flush_rounds}});
  }
  return views;
}

}  // namespace

std::string StatusPage(const Readings& readings) {
  Json errors = Json::object();
  for (const auto& [view, count] : readings.errors) errors[view] = count;
  const Json page = {{"version", FLATCOW_VERSION},
                     {"pid", getpid()},
                     {"start-time", readings.start_time},
                     {"source", readings.source},
                     {"read-only", readings.read_only},
                     {"passthrough", readings.passthrough},
                     {"requests", RequestsOf(readings)},
                     {"bytes-read", readings.bytes_read},
                     {"bytes-written", readings.bytes_written},
                     {"metadata-cache",
                      {{"hits", readings.cache.hits},
                       {"misses", readings.cache.misses},
                       {"evictions", readings.cache.evictions},
                       {"pages", readings.cache.pages},
                       {"dirty-pages", readings.cache.dirty_pages}}},
                     {"allocated-clusters", readings.images.allocated_clusters},
                     {"copied-bytes", readings.images.copied_bytes},
                     {"flush-rounds", readings.images.flush_rounds},
                     {"open-views", ViewsOf(readings)},
                     {"errors", errors}};
  return absl::StrCat(page.dump(4, ' ', true, Json::error_handler_t::replace),
                      "\n");
}

}  // namespace flatcow::daemon
