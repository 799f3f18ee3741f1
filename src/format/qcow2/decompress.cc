// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/decompress.h"

#include <zlib.h>
#include <zstd.h>

#include <memory>

namespace flatcow::qcow2 {
namespace {

// The state of a decompressor is larger than most clusters, so a thread keeps
// its own.
class Inflater {
 public:
  Inflater() : ready_(inflateInit2(&stream_, -12) == Z_OK) {}
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  bool Run(absl::Span<const uint8_t> source, absl::Span<uint8_t> target) {
    if (!ready_ || inflateReset(&stream_) != Z_OK) return false;
    stream_.next_in = const_cast<uint8_t*>(source.data());
    stream_.avail_in = static_cast<uInt>(source.size());
    stream_.next_out = target.data();
    stream_.avail_out = static_cast<uInt>(target.size());
    const int result = inflate(&stream_, Z_FINISH);
    // Z_BUF_ERROR: there is more than the target holds.
    return (result == Z_STREAM_END || result == Z_BUF_ERROR) &&
           stream_.avail_out == 0;
  }

 private:
  z_stream stream_{};
  const bool ready_;
};

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

}  // namespace

bool DecompressDeflate(absl::Span<const uint8_t> source,
                       absl::Span<uint8_t> target) {
  thread_local Inflater inflater;
  return inflater.Run(source, target);
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
