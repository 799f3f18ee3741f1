// SPDX-License-Identifier: Apache-2.0
//
// The answer to OPEN, with flags that an older libfuse has no name for.
#ifndef FLATCOW_FUSE_OPEN_REPLY_H_
#define FLATCOW_FUSE_OPEN_REPLY_H_

#include "fuse_api.h"
#include "passthrough.h"

namespace flatcow::daemon {

// Answers with `fi`'s fh, direct_io and keep_cache. A direct open also allows
// several writes at once: else the kernel lets one wait for the other. With a
// `backing` other than 0 the kernel reads and writes that file instead; then
// direct_io and keep_cache must not be set.
// Returns 0, or -ENOENT when the open was given up: the caller then releases.
int ReplyOpen(fuse_req_t request, fuse_file_info& fi, BackingId backing);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_OPEN_REPLY_H_
