// SPDX-License-Identifier: Apache-2.0
//
// The daemon's log: one line per event, to stderr in the foreground and to
// syslog in the background.
#ifndef FLATCOW_FUSE_LOG_H_
#define FLATCOW_FUSE_LOG_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "mutex.h"

namespace flatcow::daemon {

enum class Severity { kInfo, kWarning, kError };

// Thread-safe.
class Log {
 public:
  Log() = default;
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Everything from now on goes to syslog.
  void UseSyslog();

  // Writes one line. Bytes that would end the line or steer a terminal are
  // escaped.
  void Write(Severity severity, absl::string_view line);

  // The same, unless a line with this key was written less than a minute ago.
  // The next one that passes says how many were dropped.
  void WriteLimited(Severity severity, absl::string_view key,
                    absl::string_view line);

 private:
  struct Seen {
    std::chrono::steady_clock::time_point written;
    uint64_t dropped = 0;
  };

  std::atomic<bool> syslog_{false};
  Mutex mutex_;
  absl::flat_hash_map<std::string, Seen> seen_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_LOG_H_
