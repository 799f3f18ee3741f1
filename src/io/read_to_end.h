// SPDX-License-Identifier: Apache-2.0
//
// Reading what says where everything else is: headers, tables, bitmaps.
#ifndef FLATCOW_IO_READ_TO_END_H_
#define FLATCOW_IO_READ_TO_END_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "flatcow/file.h"

namespace flatcow {

// As File::Read, for callers that take bytes past the end for zeroes or a file
// without magic for raw: a read that stops before the file does is EIO, never a
// short file.
absl::StatusOr<size_t> ReadToEnd(const File& file, uint64_t offset,
                                 absl::Span<uint8_t> buffer);

}  // namespace flatcow

#endif  // FLATCOW_IO_READ_TO_END_H_
