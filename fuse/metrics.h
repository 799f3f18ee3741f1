// SPDX-License-Identifier: Apache-2.0
//
// What the daemon has done since its start, counted.
//
// Every request passes here. So a thread counts by itself, without a lock or an
// atomic addition, and whoever reads the counters adds up those of all threads.
#ifndef FLATCOW_FUSE_METRICS_H_
#define FLATCOW_FUSE_METRICS_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "mutex.h"

namespace flatcow::daemon {

enum class Operation : uint8_t {
  kLookup,
  kGetAttr,
  kSetAttr,
  kStatFs,
  kGetXattr,
  kListXattr,
  kOpen,
  kRelease,
  kRead,
  kWrite,
  kFsync,
  kFallocate,
  kSeek,
  kIoctl,
  kOpenDir,
  kReadDir,
  kReleaseDir,
};
inline constexpr size_t kOperations = 17;

// As in metrics: "read", "getattr".
absl::string_view NameOf(Operation operation);

// Thread-safe.
class Metrics {
 public:
  // Of the times that requests took, each twice as long as the one before: at
  // most 1 us, 2 us, ... 2^23 us (8 s); the last one has all that took longer.
  static constexpr size_t kBuckets = 25;

  struct Requests {
    uint64_t nanoseconds = 0;  // of all together
    std::array<uint64_t, kBuckets> buckets{};

    uint64_t count() const;
  };

  Metrics();

  void CountRequest(Operation operation, std::chrono::nanoseconds time);
  void CountBytesRead(uint64_t bytes) { Count(&Counts::bytes_read, bytes); }
  void CountBytesWritten(uint64_t bytes) {
    Count(&Counts::bytes_written, bytes);
  }
  void CountPassthroughOpen() { Count(&Counts::passthrough_opens, 1); }
  // A request for this view failed, for a reason that the log tells. Of views
  // without number only so many are told apart.
  void CountError(absl::string_view view);

  Requests Of(Operation operation) const;
  uint64_t bytes_read() const;
  uint64_t bytes_written() const;
  uint64_t passthrough_opens() const;
  // By view; "" for those that were too many, and for no view.
  std::map<std::string, uint64_t> Errors() const;

 private:
  // Only one thread changes it.
  using Counter = std::atomic<uint64_t>;
  static void Add(Counter& counter, uint64_t count) {
    counter.store(counter.load(std::memory_order_relaxed) + count,
                  std::memory_order_relaxed);
  }

  // What one thread has counted.
  struct alignas(64) Counts {
    struct {
      Counter nanoseconds{0};
      std::array<Counter, kBuckets> buckets{};
    } operations[kOperations];
    Counter bytes_read{0};
    Counter bytes_written{0};
    Counter passthrough_opens{0};
  };

  // Null: there is no memory, so nothing is counted.
  Counts* Mine() noexcept;
  Counts* CountsOfThread() noexcept;
  void Count(Counter Counts::*counter, uint64_t count) {
    if (Counts* const mine = Mine()) Add(mine->*counter, count);
  }
  uint64_t Sum(Counter Counts::*counter) const;

  const uint64_t id_;  // no other object has or had it
  mutable Mutex mutex_;
  std::map<std::thread::id, std::unique_ptr<Counts>> counts_
      ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, uint64_t> errors_ ABSL_GUARDED_BY(mutex_);
};

// Counts a request when its scope ends.
class RequestTimer {
 public:
  RequestTimer(Metrics& metrics, Operation operation)
      : metrics_(metrics),
        operation_(operation),
        start_(std::chrono::steady_clock::now()) {}
  ~RequestTimer() {
    metrics_.CountRequest(operation_,
                          std::chrono::steady_clock::now() - start_);
  }
  RequestTimer(const RequestTimer&) = delete;
  RequestTimer& operator=(const RequestTimer&) = delete;

 private:
  Metrics& metrics_;
  const Operation operation_;
  const std::chrono::steady_clock::time_point start_;
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_METRICS_H_
