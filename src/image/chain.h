// SPDX-License-Identifier: Apache-2.0
//
// An image and everything below it, as open files and layers.
#ifndef FLATCOW_IMAGE_CHAIN_H_
#define FLATCOW_IMAGE_CHAIN_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "flatcow/extent.h"
#include "image/backing_layer.h"
#include "image/chain_layer.h"
#include "image/resolve.h"

namespace flatcow {

inline constexpr size_t kMaxChainFiles = 256;

class Chain {
 public:
  // `backing` may be null.
  Chain(ChainLayer image, std::shared_ptr<const BackingLayer> backing);

  ChainLayer& image() { return image_; }
  const ChainLayer& image() const { return image_; }
  Layer& top() const { return *image_.layer; }

  // The image first.
  std::vector<const ChainLayer*> Layers() const;

  // The size of what lies below the image; 0 when there is nothing.
  uint64_t backing_size() const {
    return backing_ != nullptr ? backing_->layer().size() : 0;
  }

  // Appends where the bytes of the extent are. What lies past the end of the
  // image is zero. kExact looks through image files that are images: segments
  // name files of the host. Errors: those of Layer::Map.
  absl::Status Resolve(Extent extent, Detail detail, SegmentList& out) const;

 private:
  ChainLayer image_;
  std::shared_ptr<const BackingLayer> backing_;
  std::vector<const ImageFile*> images_;  // of all layers
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_CHAIN_H_
