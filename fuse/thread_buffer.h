// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FUSE_THREAD_BUFFER_H_
#define FLATCOW_FUSE_THREAD_BUFFER_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"

namespace flatcow::daemon {

inline constexpr size_t kMaxRequestBytes = size_t{1} << 20;

// `size` bytes for the calling thread's present request, page-aligned; their
// content is what was left there. One buffer per thread, made and touched once:
// memory that is fresh for each request costs more than the copy into it.
// Throws std::bad_alloc.
absl::Span<uint8_t> ThreadBuffer(size_t size);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_THREAD_BUFFER_H_
