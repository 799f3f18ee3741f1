// SPDX-License-Identifier: Apache-2.0
#include "metrics.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace flatcow::daemon {
namespace {

constexpr size_t kMaxViewsWithErrors = 4096;

size_t BucketOf(uint64_t nanoseconds) {
  if (nanoseconds <= 1000) return 0;
  const uint64_t microseconds = (nanoseconds + 999) / 1000;
  const auto bucket = static_cast<size_t>(std::bit_width(microseconds - 1));
  return std::min(bucket, Metrics::kBuckets - 1);
}

}  // namespace

absl::string_view NameOf(Operation operation) {
  constexpr std::array<absl::string_view, kOperations> kNames = {
      "lookup", "getattr", "setattr", "statfs",  "getxattr",  "listxattr",
      "open",   "release", "read",    "write",   "fsync",     "fallocate",
      "lseek",  "ioctl",   "opendir", "readdir", "releasedir"};
  return kNames[static_cast<size_t>(operation)];
}

uint64_t Metrics::Requests::count() const {
  return std::accumulate(buckets.begin(), buckets.end(), uint64_t{0});
}

Metrics::Stripe& Metrics::Mine() {
  static std::atomic<size_t> next{0};
  thread_local size_t number = 0;  // from 1 on
  if (number == 0) {
    number = next.fetch_add(1, std::memory_order_relaxed) % kStripes + 1;
  }
  return stripes_[number - 1];
}

void Metrics::CountRequest(Operation operation, std::chrono::nanoseconds time) {
  const auto nanoseconds =
      static_cast<uint64_t>(std::max<int64_t>(0, time.count()));
  auto& mine = Mine().operations[static_cast<size_t>(operation)];
  mine.nanoseconds.fetch_add(nanoseconds, std::memory_order_relaxed);
  mine.buckets[BucketOf(nanoseconds)].fetch_add(1, std::memory_order_relaxed);
}

void Metrics::CountError(absl::string_view view) {
  MutexLock lock(mutex_);
  const auto known = errors_.find(view);
  if (known != errors_.end()) {
    ++known->second;
  } else {
    ++errors_[errors_.size() < kMaxViewsWithErrors ? std::string(view) : ""];
  }
}

Metrics::Requests Metrics::Of(Operation operation) const {
  Requests sum;
  for (const Stripe& stripe : stripes_) {
    const auto& part = stripe.operations[static_cast<size_t>(operation)];
    sum.nanoseconds += part.nanoseconds.load(std::memory_order_relaxed);
    for (size_t i = 0; i < kBuckets; ++i) {
      sum.buckets[i] += part.buckets[i].load(std::memory_order_relaxed);
    }
  }
  return sum;
}

uint64_t Metrics::bytes_read() const {
  uint64_t sum = 0;
  for (const Stripe& stripe : stripes_) sum += stripe.bytes_read.load();
  return sum;
}

uint64_t Metrics::bytes_written() const {
  uint64_t sum = 0;
  for (const Stripe& stripe : stripes_) sum += stripe.bytes_written.load();
  return sum;
}

std::map<std::string, uint64_t> Metrics::Errors() const {
  MutexLock lock(mutex_);
  return {errors_.begin(), errors_.end()};
}

}  // namespace flatcow::daemon
