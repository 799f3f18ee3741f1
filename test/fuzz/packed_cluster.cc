// SPDX-License-Identifier: Apache-2.0
#include "fuzz/packed_cluster.h"

#include <zlib.h>
#include <zstd.h>

#include <cstddef>
#include <cstdint>

namespace flatcow {

std::string PackedCluster(const std::string& content, bool zstd) {
  std::string packed;
  if (zstd) {
    packed.resize(ZSTD_compressBound(content.size()));
    packed.resize(ZSTD_compress(packed.data(), packed.size(), content.data(),
                                content.size(), 1));
    return packed;
  }
  z_stream stream{};
  deflateInit2(&stream, 1, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY);
  packed.resize(deflateBound(&stream, content.size()));
  stream.next_in =
      reinterpret_cast<uint8_t*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<uint8_t*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

}  // namespace flatcow
