// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QCOW2_DECOMPRESS_H_
#define FLATCOW_FORMAT_QCOW2_DECOMPRESS_H_

#include <cstdint>

#include "absl/types/span.h"

namespace flatcow::qcow2 {

// Fill the target with what the source, which may have more behind it, was
// compressed from. Return values: false when that is damaged or too short.
// Deflate has no header and a window of 4 KiB.
bool DecompressDeflate(absl::Span<const uint8_t> source,
                       absl::Span<uint8_t> target);
bool DecompressZstd(absl::Span<const uint8_t> source,
                    absl::Span<uint8_t> target);

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_DECOMPRESS_H_
