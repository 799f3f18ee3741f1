// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "flatcow/printable.h"
#include "readings.h"

namespace flatcow::daemon {
namespace {

class Page {
 public:
  // Begins a metric: samples follow.
  void Metric(absl::string_view name, absl::string_view type,
              absl::string_view help) {
    name_ = std::string(name);
    absl::StrAppend(&text_, "# HELP ", name, " ", help, "\n# TYPE ", name, " ",
                    type, "\n");
  }

  // `labels`: as in "operation=\"read\"", or nothing.
  template <typename Value>
  void Sample(Value value, absl::string_view labels = "",
              absl::string_view suffix = "") {
    absl::StrAppend(&text_, name_, suffix);
    if (!labels.empty()) absl::StrAppend(&text_, "{", labels, "}");
    absl::StrAppend(&text_, " ", value, "\n");
  }

  std::string Take() { return std::move(text_); }

 private:
  std::string name_;
  std::string text_;
};

std::string Seconds(uint64_t nanoseconds) {
  return absl::StrFormat("%d.%09d", nanoseconds / 1'000'000'000,
                         nanoseconds % 1'000'000'000);
}

std::string Label(absl::string_view name, absl::string_view value) {
  std::string label = absl::StrCat(name, "=\"");
  for (const char c : Printable(value)) {
    if (c == '"' || c == '\\') label.push_back('\\');
    label.push_back(c);
  }
  label.push_back('"');
  return label;
}

void AddRequests(const Readings& readings, Page& page) {
  page.Metric("flatcow_request_duration_seconds", "histogram",
              "Time from a request's arrival to its answer.");
  for (size_t i = 0; i < kOperations; ++i) {
    const Metrics::Requests& requests = readings.requests[i];
    const std::string operation =
        Label("operation", NameOf(static_cast<Operation>(i)));
    uint64_t count = 0;
    for (size_t bucket = 0; bucket < Metrics::kBuckets; ++bucket) {
      count += requests.buckets[bucket];
      const std::string limit = bucket + 1 == Metrics::kBuckets
                                    ? "+Inf"
                                    : Seconds(uint64_t{1000} << bucket);
      page.Sample(count, absl::StrCat(operation, ",", Label("le", limit)),
                  "_bucket");
    }
    page.Sample(Seconds(requests.nanoseconds), operation, "_sum");
    page.Sample(count, operation, "_count");
  }
}

void AddErrors(const Readings& readings, Page& page) {
  page.Metric("flatcow_errors_total", "counter",
              "Requests that failed, by view; the log says why.");
  for (const auto& [view, count] : readings.errors) {
    page.Sample(count, Label("view", view));
  }
}

struct Number {
  const char* name;
  const char* help;
  uint64_t value;
};

// What counts up ends in "_total".
template <size_t kCount>
void AddNumbers(const Number (&numbers)[kCount], Page& page) {
  for (const auto& [name, help, value] : numbers) {
    page.Metric(name, absl::EndsWith(name, "_total") ? "counter" : "gauge",
                help);
    page.Sample(value);
  }
}

}  // namespace

std::string MetricsPage(const Readings& readings) {
  uint64_t dirty = 0;
  uint64_t passthrough = 0;
  for (const OpenViewState& view : readings.views) {
    dirty += view.dirty_metadata;
    passthrough += view.passthrough;
  }
  const Number numbers[] = {
      {"process_start_time_seconds",
       "When the daemon started, in seconds since 1970.",
       static_cast<uint64_t>(readings.start_time)},
      {"flatcow_read_bytes_total", "Bytes of views that the daemon read.",
       readings.bytes_read},
      {"flatcow_written_bytes_total", "Bytes of views that the daemon wrote.",
       readings.bytes_written},
      {"flatcow_passthrough_opens_total",
       "Opens whose reads and writes the kernel does by itself.",
       readings.passthrough_opens},
      {"flatcow_open_views", "Views whose image is open.",
       readings.views.size()},
      {"flatcow_dirty_views",
       "Open views with metadata that is newer than its file.", dirty},
      {"flatcow_passthrough_views", "Open views that the kernel serves.",
       passthrough},
      {"flatcow_metadata_cache_hits_total",
       "Reads of tables and bitmaps that found their page.",
       readings.cache.hits},
      {"flatcow_metadata_cache_misses_total",
       "Pages of tables and bitmaps read from files.", readings.cache.misses},
      {"flatcow_metadata_cache_evictions_total",
       "Pages that made room for others.", readings.cache.evictions},
      {"flatcow_metadata_cache_pages", "Pages of 4096 bytes that fit.",
       readings.cache.pages},
      {"flatcow_metadata_cache_dirty_pages",
       "Pages that are newer than their file.", readings.cache.dirty_pages},
      {"flatcow_allocated_clusters_total",
       "Clusters that writes made an image's own.",
       readings.images.allocated_clusters},
      {"flatcow_copied_bytes_total",
       "Bytes copied from below to complete such clusters.",
       readings.images.copied_bytes},
      {"flatcow_flush_rounds_total",
       "Times that the metadata of an image was made durable.",
       readings.images.flush_rounds}};
  Page page;
  page.Metric("flatcow_build_info", "gauge", "The version that runs.");
  page.Sample(1, Label("version", FLATCOW_VERSION));
  AddRequests(readings, page);
  AddErrors(readings, page);
  AddNumbers(numbers, page);
  return page.Take();
}

}  // namespace flatcow::daemon
