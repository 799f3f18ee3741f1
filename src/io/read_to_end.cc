// SPDX-License-Identifier: Apache-2.0
#include "io/read_to_end.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"

namespace flatcow {

absl::StatusOr<size_t> ReadToEnd(const File& file, uint64_t offset,
                                 absl::Span<uint8_t> buffer) {
  // The file may grow between the read and the look at its size.
  constexpr int kTries = 3;
  for (int i = 0; i < kTries; ++i) {
    ASSIGN_OR_RETURN(const size_t length, file.Read(offset, buffer));
    if (length == buffer.size()) return length;
    ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
    if (offset + length >= stat.size) return length;
  }
  return ErrnoError(
      EIO, absl::StrCat(file.path(), ": read of ", buffer.size(), " bytes at ",
                        offset, " stops before the file ends"));
}

}  // namespace flatcow
