// SPDX-License-Identifier: Apache-2.0
#include "image/resolve.h"

#include <algorithm>
#include <cstdint>

#include "base/status_macros.h"
#include "flatcow/file.h"

namespace flatcow {
namespace {

bool Continues(const Segment& last, const Segment& next, Detail detail) {
  if (last.kind != next.kind) return false;
  if (detail == Detail::kForIo && next.kind == Segment::Kind::kZero) {
    return true;
  }
  const bool adjacent = next.file == nullptr ||
                        last.host_offset + last.length == next.host_offset;
  return last.file == next.file && adjacent && last.depth == next.depth &&
         last.allocated == next.allocated;
}

// Asks the file what begins at the offset.
absl::StatusOr<KnownRun> LookAt(const File& file, uint64_t offset) {
  ASSIGN_OR_RETURN(const uint64_t data, file.SeekData(offset));
  if (data > offset) {
    return KnownRun{{offset, data - offset}, Segment::Kind::kZero};
  }
  ASSIGN_OR_RETURN(const uint64_t hole, file.SeekHole(offset));
  // A file that shrank meanwhile answers with its new end.
  const uint64_t length = hole > offset ? hole - offset : UINT64_MAX - offset;
  return KnownRun{{offset, length}, Segment::Kind::kData};
}

// A data run of a raw file, split where the file has holes.
absl::Status AppendWithHoles(Segment run, KnownRun& known, SegmentList& out) {
  while (run.length != 0) {
    if (run.host_offset < known.extent.offset ||
        run.host_offset >= known.extent.end()) {
      ASSIGN_OR_RETURN(known, LookAt(*run.file, run.host_offset));
    }
    Segment piece = run;
    piece.kind = known.kind;
    piece.length = std::min(run.length, known.extent.end() - run.host_offset);
    AppendSegment(piece, Detail::kExact, out);
    run.host_offset += piece.length;
    run.length -= piece.length;
  }
  return absl::OkStatus();
}

}  // namespace

void AppendSegment(const Segment& next, Detail detail, SegmentList& out) {
  if (!out.empty() && Continues(out.back(), next, detail)) {
    out.back().length += next.length;
  } else {
    out.push_back(next);
  }
}

absl::Status ResolveLayer(const Layer& layer, size_t depth, Extent extent,
                          Detail detail, const ResolveBelow* below,
                          KnownRun& known, SegmentList& out) {
  const uint64_t size = layer.size();
  while (extent.length != 0 && extent.offset < size) {
    ASSIGN_OR_RETURN(
        const Mapping mapping,
        layer.Map(
            {extent.offset, std::min(extent.length, size - extent.offset)}));
    const Extent run{extent.offset, mapping.length};
    switch (mapping.kind) {
      case Mapping::Kind::kData: {
        const Segment data{
            .kind = Segment::Kind::kData,
            .allocated = true,
            .depth = static_cast<uint16_t>(depth),
            .length = run.length,
            .file = mapping.file != nullptr ? mapping.file : &layer.data_file(),
            .host_offset = mapping.host_offset};
        if (detail == Detail::kExact && layer.reports_holes()) {
          RETURN_IF_ERROR(AppendWithHoles(data, known, out));
        } else {
          AppendSegment(data, detail, out);
        }
        break;
      }
      case Mapping::Kind::kZero:
        AppendSegment({.kind = Segment::Kind::kZero,
                       .allocated = true,
                       .depth = static_cast<uint16_t>(depth),
                       .length = run.length,
                       .file = nullptr,
                       .host_offset = 0},
                      detail, out);
        break;
      case Mapping::Kind::kBacking:
        if (below != nullptr) {
          RETURN_IF_ERROR((*below)(run));
        } else {
          AppendSegment({.length = run.length}, detail, out);
        }
        break;
    }
    extent = {run.end(), extent.length - run.length};
  }
  if (extent.length != 0) {
    AppendSegment({.length = extent.length}, detail, out);
  }
  return absl::OkStatus();
}

}  // namespace flatcow
