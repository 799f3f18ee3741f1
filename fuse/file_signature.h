// SPDX-License-Identifier: Apache-2.0
//
// What tells one state of a host file from another without reading it.
#ifndef FLATCOW_FUSE_FILE_SIGNATURE_H_
#define FLATCOW_FUSE_FILE_SIGNATURE_H_

#include <algorithm>
#include <cstdint>
#include <ctime>

#include "flatcow/file.h"

namespace flatcow::daemon {

struct FileSignature {
  FileId id;
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;

  friend bool operator==(const FileSignature&, const FileSignature&) = default;
};

inline FileSignature SignatureOf(const FileStat& stat) {
  return {stat.id, stat.size, stat.mtime_ns, stat.ctime_ns};
}

inline int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

// False when the file changed so shortly before `now_ns` that another change
// could get the same time stamps (they advance once per timer tick): such a
// signature proves nothing later.
inline bool IsSettled(const FileSignature& signature, int64_t now_ns) {
  constexpr int64_t kTwoTicksNs = 20'000'000;
  return now_ns - std::max(signature.mtime_ns, signature.ctime_ns) >
         kTwoTicksNs;
}

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_FILE_SIGNATURE_H_
