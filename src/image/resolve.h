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

// Appends where the bytes of the extent are, as the layer at `depth` has it.
// `below` does the same for runs that the layer holds nothing for; null: they
// are zero, as is what lies past the end of the layer. Errors: those of
// Layer::Map() and of `below`.
using ResolveBelow = absl::FunctionRef<absl::Status(Extent run)>;
absl::Status ResolveLayer(const Layer& layer, size_t depth, Extent extent,
                          Detail detail, const ResolveBelow* below,
                          SegmentList& out);

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_RESOLVE_H_
