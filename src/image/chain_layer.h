// SPDX-License-Identifier: Apache-2.0
//
// One image of a chain, as open files and a layer.
#ifndef FLATCOW_IMAGE_CHAIN_LAYER_H_
#define FLATCOW_IMAGE_CHAIN_LAYER_H_

#include <memory>
#include <optional>

#include "flatcow/file.h"
#include "format/format_driver.h"
#include "format/layer.h"
#include "image/image_file.h"
#include "io/image_lock.h"

namespace flatcow {

// A file of the chain. The locks belong to the descriptor it was opened with,
// which stays; one for writing is opened beside it when it is needed. Of a data
// file that is an image, `file` is an ImageFile, which has locks of its own and
// serves for both.
struct ChainFile {
  std::unique_ptr<File> file;
  FileStat stat;                    // when it was opened
  std::unique_ptr<ImageLock> lock;  // on `file`
  std::unique_ptr<File> writable;   // null: read-only

  File& io() const { return writable != nullptr ? *writable : *file; }
};

struct ChainLayer {
  const FormatDriver* driver = nullptr;
  FormatHeader header;
  ChainFile image;
  std::optional<ChainFile> data;
  ImageFile* data_image = nullptr;  // data->file; null: not an image
  std::unique_ptr<Layer> layer;     // uses the files above
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_CHAIN_LAYER_H_
