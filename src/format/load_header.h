// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_LOAD_HEADER_H_
#define FLATCOW_FORMAT_LOAD_HEADER_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "flatcow/file.h"
#include "flatcow/status.h"
#include "io/read_to_end.h"

namespace flatcow {

// Parses the header of a file: its first `kBytes` bytes, or what there is of
// them, and the length of the file. Errors: those of `parse`, behind the file's
// name.
template <size_t kBytes, typename Header>
absl::StatusOr<Header> LoadHeaderOf(
    const File& file,
    absl::StatusOr<Header> (*parse)(absl::Span<const uint8_t> bytes,
                                    uint64_t file_size)) {
  std::array<uint8_t, kBytes> bytes{};
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  ASSIGN_OR_RETURN(const size_t length,
                   ReadToEnd(file, 0, absl::MakeSpan(bytes)));
  auto header = parse(absl::MakeConstSpan(bytes).first(length), stat.size);
  if (!header.ok()) return Annotate(header.status(), file.path());
  return header;
}

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_LOAD_HEADER_H_
