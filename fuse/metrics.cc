// SPDX-License-Identifier: Apache-2.0
#include "metrics.h"

#include <algorithm>
#include <bit>
#include <new>
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

Metrics::Metrics()
    : id_([] {
        static std::atomic<uint64_t> last{0};
        return ++last;
      }()) {}

Metrics::Counts* Metrics::Mine() noexcept {
  struct Last {
    uint64_t id = 0;
    Counts* counts = nullptr;
  };
  thread_local Last last;
  if (last.id == id_) return last.counts;
  Counts* const counts = CountsOfThread();
  if (counts != nullptr) last = {id_, counts};
  return counts;
}

Metrics::Counts* Metrics::CountsOfThread() noexcept {
  try {
    MutexLock lock(mutex_);
    const auto id = std::this_thread::get_id();
    const auto known = counts_.find(id);
    if (known != counts_.end()) return known->second.get();
    return counts_.emplace(id, std::make_unique<Counts>()).first->second.get();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void Metrics::CountRequest(Operation operation, std::chrono::nanoseconds time) {
  Counts* const mine = Mine();
  if (mine == nullptr) return;
  const auto nanoseconds =
      static_cast<uint64_t>(std::max<int64_t>(0, time.count()));
  auto& requests = mine->operations[static_cast<size_t>(operation)];
  Add(requests.nanoseconds, nanoseconds);
  Add(requests.buckets[BucketOf(nanoseconds)], 1);
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
  MutexLock lock(mutex_);
  for (const auto& [thread, counts] : counts_) {
    const auto& part = counts->operations[static_cast<size_t>(operation)];
    sum.nanoseconds += part.nanoseconds.load(std::memory_order_relaxed);
    for (size_t i = 0; i < kBuckets; ++i) {
      sum.buckets[i] += part.buckets[i].load(std::memory_order_relaxed);
    }
  }
  return sum;
}

uint64_t Metrics::Sum(Counter Counts::*counter) const {
  uint64_t sum = 0;
  MutexLock lock(mutex_);
  for (const auto& [thread, counts] : counts_) {
    sum += (counts.get()->*counter).load(std::memory_order_relaxed);
  }
  return sum;
}

uint64_t Metrics::bytes_read() const { return Sum(&Counts::bytes_read); }

uint64_t Metrics::bytes_written() const { return Sum(&Counts::bytes_written); }

uint64_t Metrics::passthrough_opens() const {
  return Sum(&Counts::passthrough_opens);
}

std::map<std::string, uint64_t> Metrics::Errors() const {
  MutexLock lock(mutex_);
  return {errors_.begin(), errors_.end()};
}

}  // namespace flatcow::daemon
