// SPDX-License-Identifier: Apache-2.0
//
// An image and everything below it, as open files and layers.
#ifndef FLATCOW_IMAGE_CHAIN_H_
#define FLATCOW_IMAGE_CHAIN_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "flatcow/extent.h"
#include "flatcow/file.h"
#include "format/format_driver.h"
#include "format/layer.h"
#include "io/image_lock.h"

namespace flatcow {

inline constexpr size_t kMaxChainFiles = 256;

// A file of the chain. The locks belong to the descriptor it was opened with,
// which stays; one for writing is opened beside it when it is needed.
struct ChainFile {
  std::unique_ptr<File> file;
  std::unique_ptr<ImageLock> lock;  // on `file`
  std::unique_ptr<File> writable;   // null: read-only

  File& io() const { return writable != nullptr ? *writable : *file; }
};

struct ChainLayer {
  const FormatDriver* driver = nullptr;
  FormatHeader header;
  ChainFile image;
  std::optional<ChainFile> data;
  std::unique_ptr<Layer> layer;  // uses the files above
};

class Chain {
 public:
  // What the segments are for.
  enum class Detail {
    kForIo,  // runs as long as possible, merged across layers
    kExact,  // which layer holds what; holes of raw files are zero segments
  };

  // Precondition: at least one layer.
  explicit Chain(std::vector<ChainLayer> layers) : layers_(std::move(layers)) {}

  Layer& top() const { return *layers_.front().layer; }
  std::vector<ChainLayer>& layers() { return layers_; }
  const std::vector<ChainLayer>& layers() const { return layers_; }

  // The size of what lies below the image; 0 when there is nothing.
  uint64_t backing_size() const {
    return layers_.size() > 1 ? layers_[1].layer->size() : 0;
  }

  // Appends where the bytes of the extent are. What lies past the end of the
  // image is zero. Errors: those of Layer::Map.
  absl::Status Resolve(Extent extent, Detail detail, SegmentList& out) const {
    return ResolveFrom(0, extent, detail, out);
  }

 private:
  absl::Status ResolveFrom(size_t depth, Extent extent, Detail detail,
                           SegmentList& out) const;

  std::vector<ChainLayer> layers_;
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_CHAIN_H_
