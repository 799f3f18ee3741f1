// SPDX-License-Identifier: Apache-2.0
#include "view_seek.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "absl/strings/str_cat.h"
#include "flatcow/file.h"
#include "flatcow/status.h"

namespace flatcow::daemon {
namespace {

// A step maps this much at once; it doubles while nothing is found, so that a
// short answer is cheap and a long empty disk takes few steps.
constexpr uint64_t kFirstStep = uint64_t{1} << 20;
constexpr uint64_t kLastStep = uint64_t{1} << 30;

// Where in the segment the first data (hole) begins; nothing if there is none.
absl::StatusOr<std::optional<uint64_t>> SeekInSegment(const Segment& segment,
                                                      SeekTarget target) {
  using Found = std::optional<uint64_t>;
  const bool seek_data = target == SeekTarget::kData;
  if (segment.kind == Segment::Kind::kZero) {
    return seek_data ? Found() : Found(0);
  }
  // Of bytes that are worked out, as those of compressed clusters, no file
  // knows where they are zero.
  if (segment.file == nullptr || !segment.file->IsHostFile()) {
    return seek_data ? Found(0) : Found();
  }
  const auto host = seek_data ? segment.file->SeekData(segment.host_offset)
                              : segment.file->SeekHole(segment.host_offset);
  if (!host.ok()) return host.status();
  if (*host >= segment.host_offset + segment.length) return Found();
  return Found(std::max(*host, segment.host_offset) - segment.host_offset);
}

}  // namespace

absl::StatusOr<uint64_t> SeekView(BlockDevice& disk, uint64_t offset,
                                  SeekTarget target) {
  const uint64_t size = disk.Size();
  uint64_t step = kFirstStep;
  while (offset < size) {
    const auto segments = disk.Map({offset, std::min(step, size - offset)});
    if (!segments.ok()) return segments.status();
    for (const Segment& segment : *segments) {
      const auto found = SeekInSegment(segment, target);
      if (!found.ok()) return found.status();
      if (found->has_value()) return offset + **found;
      offset += segment.length;
    }
    step = std::min(step * 2, kLastStep);
  }
  if (target == SeekTarget::kHole && offset == size) return size;
  return MakeError(ENXIO, absl::StrCat("nothing to be found behind ", offset));
}

}  // namespace flatcow::daemon
