// SPDX-License-Identifier: Apache-2.0
#include "log.h"

#include <syslog.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "flatcow/printable.h"

namespace flatcow::daemon {
namespace {

constexpr std::chrono::seconds kQuietTime{60};
// Keys come from images and directories that others fill, so their number
// needs a bound.
constexpr size_t kMaxKeys = 4096;

int SyslogPriority(Severity severity) {
  switch (severity) {
    case Severity::kInfo:
      return LOG_INFO;
    case Severity::kWarning:
      return LOG_WARNING;
    case Severity::kError:
      break;
  }
  return LOG_ERR;
}

}  // namespace

void Log::UseSyslog() {
  openlog("flatcow", LOG_PID, LOG_DAEMON);
  syslog_.store(true);
}

void Log::Write(Severity severity, absl::string_view line) {
  const std::string clean = Printable(line);
  if (syslog_.load()) {
    syslog(SyslogPriority(severity), "%s", clean.c_str());
    return;
  }
  // One write, so that lines of several threads do not mix.
  const std::string text = absl::StrCat("flatcow: ", clean, "\n");
  [[maybe_unused]] const ssize_t written =
      write(STDERR_FILENO, text.data(), text.size());
}

void Log::WriteLimited(Severity severity, absl::string_view key,
                       absl::string_view line) {
  const auto now = std::chrono::steady_clock::now();
  uint64_t dropped = 0;
  {
    MutexLock lock(mutex_);
    const auto it = seen_.find(key);
    if (it != seen_.end() && now - it->second.written < kQuietTime) {
      ++it->second.dropped;
      return;
    }
    if (it != seen_.end()) {
      dropped = it->second.dropped;
      it->second = Seen{now, 0};
    } else {
      if (seen_.size() >= kMaxKeys) seen_.clear();
      seen_.emplace(std::string(key), Seen{now, 0});
    }
  }
  if (dropped == 0) {
    Write(severity, line);
  } else {
    Write(severity,
          absl::StrCat(line, " (", dropped, " more since the last such line)"));
  }
}

}  // namespace flatcow::daemon
