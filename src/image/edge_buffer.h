// SPDX-License-Identifier: Apache-2.0
//
// What old content is copied through.
#ifndef FLATCOW_IMAGE_EDGE_BUFFER_H_
#define FLATCOW_IMAGE_EDGE_BUFFER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/types/span.h"

namespace flatcow {

// The thread's own buffer, or a small one for an image that is written to while
// an outer image, whose image file it is, has that in use.
class EdgeBuffer {
 public:
  EdgeBuffer() : outermost_(Slot().free) {
    if (!outermost_) {
      small_ = Allocate(kSmallBytes);
      return;
    }
    Slot().free = false;
    if (Slot().pages == nullptr) Slot().pages = Allocate(kBytes);
  }
  ~EdgeBuffer() {
    if (outermost_) Slot().free = true;
  }
  EdgeBuffer(const EdgeBuffer&) = delete;
  EdgeBuffer& operator=(const EdgeBuffer&) = delete;

  absl::Span<uint8_t> bytes() {
    return outermost_ ? absl::MakeSpan(Slot().pages[0].bytes.data(), kBytes)
                      : absl::MakeSpan(small_[0].bytes.data(), kSmallBytes);
  }

 private:
  static constexpr size_t kPageBytes = 4096;
  static constexpr size_t kBytes = 1 << 20;
  static constexpr size_t kSmallBytes = 64 << 10;
  struct alignas(kPageBytes) Page {
    std::array<uint8_t, kPageBytes> bytes;
  };
  using Pages = std::unique_ptr<Page[]>;
  struct ThreadSlot {
    bool free = true;
    Pages pages;
  };

  static ThreadSlot& Slot() {
    thread_local ThreadSlot slot;
    return slot;
  }
  static Pages Allocate(size_t bytes) {
    return Pages(new Page[bytes / sizeof(Page)]);
  }

  const bool outermost_;
  Pages small_;
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_EDGE_BUFFER_H_
