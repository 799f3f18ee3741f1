// SPDX-License-Identifier: Apache-2.0
#include "support/packed_cluster.h"

#include <libdeflate.h>
#include <zstd.h>

namespace flatcow {

std::string PackedCluster(const std::string& content, bool zstd) {
  std::string packed;
  if (zstd) {
    packed.resize(ZSTD_compressBound(content.size()));
    packed.resize(ZSTD_compress(packed.data(), packed.size(), content.data(),
                                content.size(), 1));
    return packed;
  }
  libdeflate_compressor* const compressor = libdeflate_alloc_compressor(1);
  packed.resize(libdeflate_deflate_compress_bound(compressor, content.size()));
  packed.resize(libdeflate_deflate_compress(compressor, content.data(),
                                            content.size(), packed.data(),
                                            packed.size()));
  libdeflate_free_compressor(compressor);
  return packed;
}

}  // namespace flatcow
