// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_IMAGE_READ_SEGMENTS_H_
#define FLATCOW_IMAGE_READ_SEGMENTS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "flatcow/extent.h"

namespace flatcow {

// Reads the bytes of all segments, one behind the other, into `buffer`. When a
// disk has to be waited for, all of them are under way before the wait: their
// places may be far apart, and only we know that they belong together.
// Errors: EIO a file is shorter than its segment.
absl::Status ReadSegments(const SegmentList& segments, uint8_t* buffer);

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_READ_SEGMENTS_H_
