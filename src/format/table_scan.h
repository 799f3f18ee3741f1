// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_TABLE_SCAN_H_
#define FLATCOW_FORMAT_TABLE_SCAN_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "flatcow/extent.h"
#include "flatcow/file.h"

namespace flatcow {

// Calls `visit(index, word)` for every non-zero little-endian 64-bit word in
// `bytes` of the file, in order; holes of the file are skipped, so a table that
// is a hole costs nothing whatever its size. A non-OK answer ends the scan.
absl::Status ScanWords(
    const File& file, Extent bytes,
    absl::FunctionRef<absl::Status(uint64_t index, uint64_t word)> visit);

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_TABLE_SCAN_H_
