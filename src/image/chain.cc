// SPDX-License-Identifier: Apache-2.0
#include "image/chain.h"

#include <algorithm>

#include "base/status_macros.h"
#include "image/overlay.h"

namespace flatcow {
namespace {

// Puts what image files that are images say in the place of their segments.
absl::Status LookInside(absl::Span<const ImageFile* const> images,
                        SegmentList& segments) {
  SegmentList result;
  for (const Segment& segment : segments) {
    const auto image = std::find(images.begin(), images.end(), segment.file);
    if (segment.kind != Segment::Kind::kData || image == images.end()) {
      AppendSegment(segment, Detail::kExact, result);
      continue;
    }
    ASSIGN_OR_RETURN(
        const SegmentList inside,
        (*image)->image().Map({segment.host_offset, segment.length}));
    for (Segment piece : inside) {
      piece.allocated = true;
      piece.depth = segment.depth;
      AppendSegment(piece, Detail::kExact, result);
    }
  }
  segments = std::move(result);
  return absl::OkStatus();
}

}  // namespace

Chain::Chain(ChainLayer image, std::shared_ptr<const BackingLayer> backing)
    : image_(std::move(image)), backing_(std::move(backing)) {
  for (const ChainLayer* layer : Layers()) {
    if (layer->data_image != nullptr) images_.push_back(layer->data_image);
  }
}

std::vector<const ChainLayer*> Chain::Layers() const {
  std::vector<const ChainLayer*> layers = {&image_};
  if (backing_ != nullptr) {
    for (const ChainLayer* below : backing_->Layers()) layers.push_back(below);
  }
  return layers;
}

absl::Status Chain::Resolve(Extent extent, Detail detail,
                            SegmentList& out) const {
  KnownRun known;  // of the last layer, the only one that can be raw
  const auto resolve_below = [&](Extent run) {
    return backing_->Resolve(1, run, detail, known, out);
  };
  const ResolveBelow below = resolve_below;
  RETURN_IF_ERROR(ResolveLayer(top(), 0, extent, detail,
                               backing_ != nullptr ? &below : nullptr, known,
                               out));
  return detail == Detail::kExact && !images_.empty() ? LookInside(images_, out)
                                                      : absl::OkStatus();
}

}  // namespace flatcow
