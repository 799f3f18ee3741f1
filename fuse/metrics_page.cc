// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

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

  template <typename Value>
  void Single(absl::string_view name, absl::string_view type,
              absl::string_view help, Value value) {
    Metric(name, type, help);
    Sample(value);
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

void AddViews(const Readings& readings, Page& page) {
  uint64_t dirty = 0;
  uint64_t passthrough = 0;
  for (const OpenViewState& view : readings.views) {
    dirty += view.dirty_metadata;
    passthrough += view.passthrough;
  }
  page.Single("flatcow_open_views", "gauge", "Views whose image is open.",
              readings.views.size());
  page.Single("flatcow_dirty_views", "gauge",
              "Open views with metadata that is newer than its file.", dirty);
  page.Single("flatcow_passthrough_views", "gauge",
              "Open views that the kernel serves.", passthrough);
}

}  // namespace

std::string MetricsPage(const Readings& readings) {
  Page page;
  page.Metric("flatcow_build_info", "gauge", "The version that runs.");
  page.Sample(1, Label("version", FLATCOW_VERSION));
  page.Single("process_start_time_seconds", "gauge",
              "When the daemon started, in seconds since 1970.",
              readings.start_time);
  AddRequests(readings, page);
  page.Single("flatcow_read_bytes_total", "counter",
              "Bytes of views that the daemon read.", readings.bytes_read);
  page.Single("flatcow_written_bytes_total", "counter",
              "Bytes of views that the daemon wrote.", readings.bytes_written);
  page.Single("flatcow_passthrough_opens_total", "counter",
              "Opens whose reads and writes the kernel does by itself.",
              readings.passthrough_opens);
  AddErrors(readings, page);
  AddViews(readings, page);
  page.Single("flatcow_metadata_cache_hits_total", "counter",
              "Reads of tables and bitmaps that found their page.",
              readings.cache.hits);
  page.Single("flatcow_metadata_cache_misses_total", "counter",
              "Pages of tables and bitmaps read from files.",
              readings.cache.misses);
  page.Single("flatcow_metadata_cache_evictions_total", "counter",
              "Pages that made room for others.", readings.cache.evictions);
  page.Single("flatcow_metadata_cache_pages", "gauge",
              "Pages of 4096 bytes that fit.", readings.cache.pages);
  page.Single("flatcow_metadata_cache_dirty_pages", "gauge",
              "Pages that are newer than their file.",
              readings.cache.dirty_pages);
  page.Single("flatcow_allocated_clusters_total", "counter",
              "Clusters that writes made an image's own.",
              readings.images.allocated_clusters);
  page.Single("flatcow_copied_bytes_total", "counter",
              "Bytes copied from below to complete such clusters.",
              readings.images.copied_bytes);
  page.Single("flatcow_flush_rounds_total", "counter",
              "Times that the metadata of an image was made durable.",
              readings.images.flush_rounds);
  return page.Take();
}

}  // namespace flatcow::daemon
