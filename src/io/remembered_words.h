// SPDX-License-Identifier: Apache-2.0
//
// Words that can be worked out again, in the metadata cache as long as there is
// room: they share its limit with the tables and bitmaps, and go first come,
// first gone with them.
#ifndef FLATCOW_IO_REMEMBERED_WORDS_H_
#define FLATCOW_IO_REMEMBERED_WORDS_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/types/span.h"
#include "io/metadata_cache.h"

namespace flatcow {

// Thread-safe; finding takes no lock.
class RememberedWords {
 public:
  static constexpr uint64_t kUnknown = 0;

  explicit RememberedWords(std::shared_ptr<MetadataCache> cache);
  ~RememberedWords();
  RememberedWords(const RememberedWords&) = delete;
  RememberedWords& operator=(const RememberedWords&) = delete;

  // Return values: how many words from the first on are known; they are in
  // `words` now.
  size_t Find(uint64_t first_word, absl::Span<uint64_t> words) const;

  // Remembers the words that are not kUnknown, if there is room.
  void Store(uint64_t first_word, absl::Span<const uint64_t> words) const;

 private:
  void StoreInPage(uint64_t first_word, absl::Span<const uint64_t> words) const;

  const std::shared_ptr<MetadataCache> cache_;
  const uint32_t owner_;
};

}  // namespace flatcow

#endif  // FLATCOW_IO_REMEMBERED_WORDS_H_
