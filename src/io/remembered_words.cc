// SPDX-License-Identifier: Apache-2.0
#include "io/remembered_words.h"

#include <algorithm>
#include <utility>

namespace flatcow {

RememberedWords::RememberedWords(std::shared_ptr<MetadataCache> cache)
    : cache_(std::move(cache)), owner_(cache_->NewOwner()) {}

RememberedWords::~RememberedWords() { cache_->Drop(owner_); }

size_t RememberedWords::Find(uint64_t first_word,
                             absl::Span<uint64_t> words) const {
  size_t found = 0;
  while (found < words.size()) {
    const uint64_t word = first_word + found;
    const absl::Span<uint64_t> rest = words.subspan(
        found, std::min<uint64_t>(words.size() - found,
                                  MetadataCache::WordsToPageEnd(word)));
    if (!cache_->Lookup(owner_, word, rest)) break;
    const auto unknown = std::find(rest.begin(), rest.end(), kUnknown);
    found += static_cast<size_t>(unknown - rest.begin());
    if (unknown != rest.end()) break;
  }
  return found;
}

void RememberedWords::Store(uint64_t first_word,
                            absl::Span<const uint64_t> words) const {
  while (!words.empty()) {
    const size_t here = static_cast<size_t>(std::min<uint64_t>(
        words.size(), MetadataCache::WordsToPageEnd(first_word)));
    StoreInPage(first_word, words.first(here));
    first_word += here;
    words.remove_prefix(here);
  }
}

void RememberedWords::StoreInPage(uint64_t first_word,
                                  absl::Span<const uint64_t> words) const {
  const uint64_t page = first_word / MetadataCache::kPageWords;
  MetadataCache::Set& set = cache_->SetOf(owner_, page);
  MutexLock lock(set.mutex);
  auto found = cache_->Find(set, owner_, page);
  if (!found) found = cache_->Insert(set, owner_, page, {});
  if (!found) return;
  size_t at = first_word % MetadataCache::kPageWords;
  for (const uint64_t word : words) {
    if (word != kUnknown) found.Store(at, word);
    ++at;
  }
}

}  // namespace flatcow
