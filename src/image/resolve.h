// SPDX-License-Identifier: Apache-2.0
//
// From layers to segments.
#ifndef FLATCOW_IMAGE_RESOLVE_H_
#define FLATCOW_IMAGE_RESOLVE_H_

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "flatcow/extent.h"
#include "format/layer.h"

namespace flatcow {

// What the segments are for.
enum class Detail {
  kForIo,  // runs as long as possible, merged across layers
  kExact,  // which layer holds what; holes of raw files are zero segments
};

// Adds a segment behind the others, to the last one where that goes on.
void AppendSegment(const Segment& next, Detail detail, SegmentList& out);

// Where the raw file of a chain was last found to have data or a hole, so that
// it is not asked for each of the runs of a fragmented overlay. For one call:
// the file may change.
struct KnownRun {
  Extent extent;  // in the file
  Segment::Kind kind = Segment::Kind::kZero;
};

// Appends where the bytes of the extent are, as the layer at `depth` has it.
// `below` does the same for runs that the layer holds nothing for; null: they
// are zero, as is what lies past the end of the layer. `known` is of this
// layer's file. Errors: those of Layer::Map() and of `below`.
using ResolveBelow = absl::FunctionRef<absl::Status(Extent run)>;
absl::Status ResolveLayer(const Layer& layer, size_t depth, Extent extent,
                          Detail detail, const ResolveBelow* below,
                          KnownRun& known, SegmentList& out);

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_RESOLVE_H_
