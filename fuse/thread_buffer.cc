// SPDX-License-Identifier: Apache-2.0
#include "thread_buffer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace flatcow::daemon {
namespace {

constexpr size_t kPageBytes = 4096;

struct Free {
  void operator()(uint8_t* memory) const { std::free(memory); }
};

struct Buffer {
  std::unique_ptr<uint8_t, Free> memory;
  size_t size = 0;
};

}  // namespace

absl::Span<uint8_t> ThreadBuffer(size_t size) {
  static thread_local Buffer buffer;
  if (buffer.size < size) {
    const size_t pages = std::max(size, kMaxRequestBytes) / kPageBytes + 1;
    buffer.size = 0;
    buffer.memory.reset(static_cast<uint8_t*>(
        std::aligned_alloc(kPageBytes, pages * kPageBytes)));
    if (buffer.memory == nullptr) throw std::bad_alloc();
    buffer.size = pages * kPageBytes;
    std::memset(buffer.memory.get(), 0, buffer.size);
  }
  return absl::MakeSpan(buffer.memory.get(), size);
}

}  // namespace flatcow::daemon
