// SPDX-License-Identifier: Apache-2.0
#include "image/chain.h"

namespace flatcow {

std::vector<const ChainLayer*> Chain::Layers() const {
  std::vector<const ChainLayer*> layers = {&image_};
  for (const BackingLayer* at = backing_.get(); at != nullptr;
       at = at->below()) {
    layers.push_back(&at->parts());
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
  return ResolveLayer(top(), 0, extent, detail,
                      backing_ != nullptr ? &below : nullptr, known, out);
}

}  // namespace flatcow
