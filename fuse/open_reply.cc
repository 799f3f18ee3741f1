// SPDX-License-Identifier: Apache-2.0
#include "open_reply.h"

#include <cstdint>

namespace flatcow::daemon {
namespace {

// struct fuse_open_out and its flags as the kernel's fuse.h has them; the
// installed header may be older than the kernel.
struct OpenOut {
  uint64_t fh;
  uint32_t open_flags;
  int32_t backing_id;
};
static_assert(sizeof(OpenOut) == 16);

constexpr uint32_t kDirectIo = 1u << 0;
constexpr uint32_t kKeepCache = 1u << 1;
constexpr uint32_t kParallelDirectWrites = 1u << 6;
constexpr uint32_t kPassthrough = 1u << 7;

// A template, so that the test for the fields of newer libfuse versions is made
// on a type that depends on a parameter.
template <typename FileInfo>
int Reply(fuse_req_t request, FileInfo& fi, BackingId backing) {
  if constexpr (requires {
                  fi.parallel_direct_writes = 1;
                  fi.backing_id = backing;
                }) {
    fi.parallel_direct_writes = fi.direct_io;
    fi.backing_id = backing;
    return fuse_reply_open(request, &fi);
  } else {
    OpenOut out{};
    out.fh = fi.fh;
    if (fi.direct_io) out.open_flags |= kDirectIo | kParallelDirectWrites;
    if (fi.keep_cache) out.open_flags |= kKeepCache;
    if (backing != 0) out.open_flags |= kPassthrough;
    out.backing_id = backing;
    return fuse_reply_buf(request, reinterpret_cast<const char*>(&out),
                          sizeof(out));
  }
}

}  // namespace

int ReplyOpen(fuse_req_t request, fuse_file_info& fi, BackingId backing) {
  return Reply(request, fi, backing);
}

}  // namespace flatcow::daemon
