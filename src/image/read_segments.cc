// SPDX-License-Identifier: Apache-2.0
#include "image/read_segments.h"

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "flatcow/file.h"
#include "flatcow/status.h"

namespace flatcow {
namespace {

void Announce(absl::Span<const Segment> segments) {
  for (const Segment& segment : segments) {
    if (segment.kind == Segment::Kind::kData) {
      segment.file->WillNeed({segment.host_offset, segment.length});
    }
  }
}

absl::Status ReadRest(const Segment& segment, size_t done,
                      absl::Span<uint8_t> buffer) {
  ASSIGN_OR_RETURN(
      const size_t got,
      segment.file->Read(segment.host_offset + done, buffer.subspan(done)));
  done += got;
  if (done == buffer.size()) return absl::OkStatus();
  return MakeError(EIO, absl::StrCat(segment.file->path(), ": ends at ",
                                     segment.host_offset + done, ", expected ",
                                     buffer.size() - done,
                                     " bytes more: it was cut while in use"));
}

}  // namespace

absl::Status ReadSegments(const SegmentList& segments, uint8_t* buffer) {
  bool announced = segments.size() == 1;
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    const size_t length = static_cast<size_t>(segment.length);
    if (segment.kind == Segment::Kind::kZero) {
      std::memset(buffer, 0, length);
    } else {
      const absl::Span<uint8_t> target = absl::MakeSpan(buffer, length);
      size_t done = 0;
      if (!announced) {
        ASSIGN_OR_RETURN(done,
                         segment.file->ReadCached(segment.host_offset, target));
      }
      if (done < length) {
        if (!announced) Announce(absl::MakeConstSpan(segments).subspan(i));
        announced = true;
        RETURN_IF_ERROR(ReadRest(segment, done, target));
      }
    }
    buffer += length;
  }
  return absl::OkStatus();
}

}  // namespace flatcow
