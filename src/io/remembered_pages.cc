// SPDX-License-Identifier: Apache-2.0
#include "io/remembered_pages.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/checked_math.h"

namespace flatcow {

RememberedPages::RememberedPages(std::shared_ptr<MetadataCache> cache)
    : cache_(std::move(cache)), owner_(cache_->NewOwner()) {}

RememberedPages::~RememberedPages() { cache_->Drop(owner_); }

bool RememberedPages::Find(uint64_t offset, absl::Span<uint8_t> target) const {
  MetadataCache::Words words;
  while (!target.empty()) {
    const uint64_t page = offset / MetadataCache::kPageBytes;
    const size_t in_page = offset % MetadataCache::kPageBytes;
    const size_t length =
        std::min<size_t>(target.size(), MetadataCache::kPageBytes - in_page);
    if (!cache_->Lookup(owner_, page * MetadataCache::kPageWords,
                        absl::MakeSpan(words))) {
      return false;
    }
    std::memcpy(target.data(),
                reinterpret_cast<const uint8_t*>(words.data()) + in_page,
                length);
    target.remove_prefix(length);
    offset += length;
  }
  return true;
}

void RememberedPages::Store(uint64_t offset,
                            absl::Span<const uint8_t> source) const {
  const uint64_t end = offset + source.size();
  MetadataCache::Words words;
  for (uint64_t at = RoundUp(offset, MetadataCache::kPageBytes);
       at + MetadataCache::kPageBytes <= end; at += MetadataCache::kPageBytes) {
    std::memcpy(words.data(), &source[at - offset], MetadataCache::kPageBytes);
    const uint64_t page = at / MetadataCache::kPageBytes;
    MetadataCache::Set& set = cache_->SetOf(owner_, page);
    MutexLock lock(set.mutex);
    if (!cache_->Find(set, owner_, page)) {
      cache_->Insert(set, owner_, page, words);
    }
  }
}

}  // namespace flatcow
