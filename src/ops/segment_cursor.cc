// SPDX-License-Identifier: Apache-2.0
#include "ops/segment_cursor.h"

#include <algorithm>
#include <limits>

#include "base/status_macros.h"

namespace flatcow {
namespace {

constexpr uint64_t kStep = uint64_t{1} << 30;

}  // namespace

absl::StatusOr<Segment> SegmentCursor::At(uint64_t offset) {
  const uint64_t size = image_.Size();
  if (offset >= size) {
    return Segment{.length = std::numeric_limits<uint64_t>::max() - offset};
  }
  while (index_ < segments_.size() &&
         start_ + segments_[index_].length <= offset) {
    start_ += segments_[index_++].length;
  }
  if (index_ == segments_.size()) {
    ASSIGN_OR_RETURN(segments_,
                     image_.Map({offset, std::min(kStep, size - offset)}));
    index_ = 0;
    start_ = offset;
  }
  Segment segment = segments_[index_];
  const uint64_t skipped = offset - start_;
  segment.length -= skipped;
  if (segment.file != nullptr) segment.host_offset += skipped;
  return segment;
}

bool AreSame(const Segment& a, const Segment& b) {
  if (a.kind != b.kind) return false;
  if (a.kind == Segment::Kind::kZero) return true;
  return a.file->path() == b.file->path() && a.host_offset == b.host_offset;
}

absl::Status ReadPadded(Image& image, uint64_t offset,
                        absl::Span<uint8_t> buffer) {
  ASSIGN_OR_RETURN(const size_t count, image.Read(offset, buffer));
  std::fill(buffer.begin() + static_cast<ptrdiff_t>(count), buffer.end(), 0);
  return absl::OkStatus();
}

}  // namespace flatcow
