// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/decompress.h"

#include <libdeflate.h>
#include <zstd.h>

#include <memory>

namespace flatcow::qcow2 {
namespace {

// The state of a decompressor is larger than most clusters, so a thread keeps
// its own.
struct FreeDecompressor {
  void operator()(libdeflate_decompressor* decompressor) const {
    libdeflate_free_decompressor(decompressor);
  }
};

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

}  // namespace

bool DecompressDeflate(absl::Span<const uint8_t> source,
                       absl::Span<uint8_t> target) {
  thread_local const std::unique_ptr<libdeflate_decompressor, FreeDecompressor>
      decompressor(libdeflate_alloc_decompressor());
  if (decompressor == nullptr) return false;
  size_t used = 0;
  size_t filled = 0;
  return libdeflate_deflate_decompress_ex(
             decompressor.get(), source.data(), source.size(), target.data(),
             target.size(), &used, &filled) == LIBDEFLATE_SUCCESS &&
         filled == target.size();
}

bool DecompressZstd(absl::Span<const uint8_t> source,
                    absl::Span<uint8_t> target) {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeContext> context(
      ZSTD_createDCtx());
  if (context == nullptr) return false;
  ZSTD_DCtx_reset(context.get(), ZSTD_reset_session_only);
  ZSTD_inBuffer in{source.data(), source.size(), 0};
  ZSTD_outBuffer out{target.data(), target.size(), 0};
  while (out.pos < out.size) {
    const size_t before = in.pos + out.pos;
    const size_t left = ZSTD_decompressStream(context.get(), &out, &in);
    if (ZSTD_isError(left) != 0 || in.pos + out.pos == before) return false;
    if (left == 0) break;  // the frame ends
  }
  return out.pos == out.size;
}

}  // namespace flatcow::qcow2
