// SPDX-License-Identifier: Apache-2.0
#include "log.h"

#include <syslog.h>
#include <unistd.h>

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace flatcow::daemon {
namespace {

constexpr std::chrono::seconds kQuietTime{60};
// Keys come from images and directories that others fill, so their number
// needs a bound.
constexpr size_t kMaxKeys = 4096;

// The length of the UTF-8 character that `text` begins with if a terminal can
// have it: no control character, of which U+0080 to U+009F are some too. Else
// 0.
size_t HarmlessCharacter(absl::string_view text) {
  const auto byte = [text](size_t i) {
    return static_cast<unsigned char>(text[i]);
  };
  if (byte(0) < 0x80) return byte(0) >= 0x20 && byte(0) != 0x7f ? 1 : 0;
  const size_t length = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
  if (byte(0) < 0xc2 || byte(0) > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Nor a control character in a longer form than it needs.
  const bool control = byte(0) == 0xc2 && byte(1) < 0xa0;
  const bool too_long = (byte(0) == 0xe0 && byte(1) < 0xa0) ||
                        (byte(0) == 0xf0 && byte(1) < 0x90);
  return control || too_long ? 0 : length;
}

std::string OneLine(absl::string_view text) {
  std::string line;
  line.reserve(text.size());
  while (!text.empty()) {
    const size_t length = HarmlessCharacter(text);
    if (length == 0) {
      absl::StrAppendFormat(&line, "\\x%02x",
                            static_cast<unsigned char>(text.front()));
    } else {
      line.append(text.data(), length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return line;
}

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
  const std::string clean = OneLine(line);
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
