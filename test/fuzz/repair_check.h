// SPDX-License-Identifier: Apache-2.0
//
// What repair must never do: make a byte unreadable that could be read, or
// change one that it doesn't name.
#ifndef FLATCOW_TEST_FUZZ_REPAIR_CHECK_H_
#define FLATCOW_TEST_FUZZ_REPAIR_CHECK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "flatcow/file.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"

namespace flatcow {

inline constexpr uint64_t kSeenBytes = 128 << 10;
inline constexpr uint64_t kSeenPiece = 4096;

// The first bytes of a disk, piece by piece; nullopt where one can't be read.
using SeenPieces = std::vector<std::optional<std::string>>;

SeenPieces ReadPieces(Image& image);

// Does the check find nothing at all?
bool IsClean(const CheckResult& result);

// CheckImage(), with what must hold before and after. The image must not be
// open. Return values: nullopt when it fails.
std::optional<CheckResult> CheckAndCompare(FileSystem& files,
                                           const std::string& path,
                                           Repair repair);

}  // namespace flatcow

#endif  // FLATCOW_TEST_FUZZ_REPAIR_CHECK_H_
