// SPDX-License-Identifier: Apache-2.0
//
// A backing file and all that lies below it. Nobody writes to it while it is
// open, so images share it (backing_pool.h), and where its bytes are is
// remembered for good: a chain of any depth costs what two layers cost.
#ifndef FLATCOW_IMAGE_BACKING_LAYER_H_
#define FLATCOW_IMAGE_BACKING_LAYER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "flatcow/extent.h"
#include "image/chain_layer.h"
#include "image/resolve.h"
#include "io/remembered_words.h"

namespace flatcow {

// Thread-safe.
class BackingLayer {
 public:
  // `below` may be null. What is remembered lives in `cache`.
  BackingLayer(ChainLayer layer, std::shared_ptr<const BackingLayer> below,
               std::shared_ptr<MetadataCache> cache);
  BackingLayer(const BackingLayer&) = delete;
  BackingLayer& operator=(const BackingLayer&) = delete;

  const ChainLayer& parts() const { return parts_; }
  Layer& layer() const { return *parts_.layer; }
  const BackingLayer* below() const { return below_.get(); }

  // Appends where the bytes of the extent are; `depth` is this layer's place in
  // the chain of the image that asks. `known` is of the last layer's file.
  // Errors: those of Layer::Map().
  absl::Status Resolve(size_t depth, Extent extent, Detail detail,
                       KnownRun& known, SegmentList& out) const;

 private:
  // Asks the layers.
  absl::Status Walk(size_t depth, Extent extent, Detail detail, KnownRun& known,
                    SegmentList& out) const;
  absl::Status ResolveRemembered(size_t depth, Extent extent,
                                 SegmentList& out) const;
  // Walks whole units and remembers what was found. Precondition: at most as
  // many units as are looked up at once.
  absl::Status Learn(uint64_t first_unit, size_t count,
                     SegmentList& found) const;

  uint64_t EncodeUnit(const Segment& segment, uint64_t at) const;
  Segment DecodeUnit(uint64_t word) const;

  const ChainLayer parts_;
  const std::shared_ptr<const BackingLayer> below_;
  // Of this layer and those below, in order.
  struct Source {
    const File* file = nullptr;
    uint16_t depth = 0;  // below this layer
  };
  std::vector<Source> sources_;
  uint64_t unit_ = 0;  // bytes: the smallest cluster of these layers
  // A word for each unit; nothing when one layer answers for all.
  std::optional<RememberedWords> remembered_;
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_BACKING_LAYER_H_
