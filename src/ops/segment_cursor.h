// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_OPS_SEGMENT_CURSOR_H_
#define FLATCOW_OPS_SEGMENT_CURSOR_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "flatcow/extent.h"
#include "flatcow/image.h"

namespace flatcow {

// Goes over a disk from its beginning to its end. The disk is asked for bounded
// parts, so that memory stays bounded however fragmented it is.
class SegmentCursor {
 public:
  explicit SegmentCursor(Image& image) : image_(image) {}

  // What is at `offset`, which must not be smaller than in the call before: a
  // segment that begins there. Past the end of the disk: zeroes without an end.
  absl::StatusOr<Segment> At(uint64_t offset);

 private:
  Image& image_;
  SegmentList segments_;
  size_t index_ = 0;
  uint64_t start_ = 0;  // of segments_[index_]
};

// Whether both are the same bytes for sure: zeroes, or one place of one file.
bool AreSame(const Segment& a, const Segment& b);

// Reads into all of `buffer`; past the end of the disk there are zeroes.
absl::Status ReadPadded(Image& image, uint64_t offset,
                        absl::Span<uint8_t> buffer);

}  // namespace flatcow

#endif  // FLATCOW_OPS_SEGMENT_CURSOR_H_
