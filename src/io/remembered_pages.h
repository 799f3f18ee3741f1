// SPDX-License-Identifier: Apache-2.0
//
// Bytes that can be worked out again, in the metadata cache as long as there is
// room.
#ifndef FLATCOW_IO_REMEMBERED_PAGES_H_
#define FLATCOW_IO_REMEMBERED_PAGES_H_

#include <cstdint>
#include <memory>

#include "absl/types/span.h"
#include "io/metadata_cache.h"

namespace flatcow {

// Thread-safe; finding takes no lock.
class RememberedPages {
 public:
  explicit RememberedPages(std::shared_ptr<MetadataCache> cache);
  ~RememberedPages();
  RememberedPages(const RememberedPages&) = delete;
  RememberedPages& operator=(const RememberedPages&) = delete;

  // Return values: false when not all of the range is known; then a part of
  // `target` may have been filled.
  bool Find(uint64_t offset, absl::Span<uint8_t> target) const;

  // Remembers the whole pages of the range, if there is room.
  void Store(uint64_t offset, absl::Span<const uint8_t> source) const;

 private:
  const std::shared_ptr<MetadataCache> cache_;
  const uint32_t owner_;
};

}  // namespace flatcow

#endif  // FLATCOW_IO_REMEMBERED_PAGES_H_
