// SPDX-License-Identifier: Apache-2.0
#include "io/metadata_cache.h"

#include <endian.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <new>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/image.h"
#include "flatcow/status.h"
#include "io/read_to_end.h"

namespace flatcow {

CacheStatistics StatisticsOf(const MetadataCache& cache) {
  const MetadataCache::Counts& counts = cache.counts();
  return {.hits = counts.hits.Sum(),
          .misses = counts.misses.load(std::memory_order_relaxed),
          .evictions = counts.evictions.load(std::memory_order_relaxed),
          .pages = cache.pages(),
          .dirty_pages = cache.dirty_pages()};
}

std::shared_ptr<MetadataCache> NewMetadataCache(size_t limit_bytes) {
  return std::make_shared<MetadataCache>(limit_bytes);
}

MetadataCache::MetadataCache(size_t limit_bytes)
    : set_count_(std::bit_floor(
          std::max<size_t>(1, limit_bytes / (kWays * kPageBytes)))),
      frame_count_(set_count_ * kWays),
      sets_(std::make_unique<Set[]>(set_count_)) {
  void* memory =
      mmap(nullptr, frame_count_ * kPageBytes, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  words_ = static_cast<std::atomic<uint64_t>*>(memory);
}

MetadataCache::~MetadataCache() {
  munmap(static_cast<void*>(words_), frame_count_ * kPageBytes);
}

uint64_t MetadataCache::Found::Load(size_t word) const {
  return frame_words != nullptr
             ? frame_words[word].load(std::memory_order_relaxed)
             : overflow_words[word];
}

void MetadataCache::Found::LoadAll(uint64_t* target) const {
  if (frame_words == nullptr) {
    std::copy_n(overflow_words, kPageWords, target);
    return;
  }
  for (size_t i = 0; i < kPageWords; ++i) {
    target[i] = frame_words[i].load(std::memory_order_relaxed);
  }
}

void MetadataCache::Found::Store(size_t word, uint64_t value) const {
  if (frame_words != nullptr) {
    frame_words[word].store(value, std::memory_order_release);
  } else {
    overflow_words[word] = value;
  }
}

MetadataCache::Found MetadataCache::Find(Set& set, uint32_t owner,
                                         uint64_t page) const {
  for (Frame& frame : set.frames) {
    if (frame.page.load(std::memory_order_relaxed) == page &&
        frame.owner.load(std::memory_order_relaxed) == owner) {
      return {&frame.state, WordsOf(set, frame), nullptr};
    }
  }
  for (const auto& overflow : set.overflow) {
    if (overflow->page == page && overflow->owner == owner) {
      return {&overflow->state, nullptr, overflow->words.data()};
    }
  }
  return {};
}

MetadataCache::Found MetadataCache::Insert(Set& set, uint32_t owner,
                                           uint64_t page, const Words& words) {
  // Second chance: the hand passes over what was read since its last visit.
  Frame* victim = nullptr;
  for (size_t step = 0; step < 2 * kWays && victim == nullptr; ++step) {
    Frame& frame = set.frames[set.hand];
    set.hand = (set.hand + 1) % kWays;
    if (frame.state.pinned()) continue;
    if (!frame.referenced.exchange(false, std::memory_order_relaxed)) {
      victim = &frame;
    }
  }
  if (victim == nullptr) return {};
  if (victim->page.load(std::memory_order_relaxed) != kNoPage) {
    counts_.evictions.fetch_add(1, std::memory_order_relaxed);
  }
  const uint32_t version = victim->version.load(std::memory_order_relaxed);
  victim->version.store(version + 1, std::memory_order_relaxed);
  victim->page.store(page, std::memory_order_release);
  victim->owner.store(owner, std::memory_order_release);
  victim->state = PageState{};
  std::atomic<uint64_t>* const frame_words = WordsOf(set, *victim);
  for (size_t i = 0; i < kPageWords; ++i) {
    frame_words[i].store(words[i], std::memory_order_release);
  }
  victim->version.store(version + 2, std::memory_order_release);
  set.generation.fetch_add(1, std::memory_order_release);
  return {&victim->state, frame_words, nullptr};
}

MetadataCache::Found MetadataCache::InsertOverflow(Set& set, uint32_t owner,
                                                   uint64_t page,
                                                   const Words& words) {
  set.overflow.push_back(std::make_unique<OverflowPage>());
  OverflowPage& added = *set.overflow.back();
  added.page = page;
  added.owner = owner;
  added.words = words;
  set.overflow_count.store(static_cast<uint32_t>(set.overflow.size()),
                           std::memory_order_release);
  set.generation.fetch_add(1, std::memory_order_release);
  return {&added.state, nullptr, added.words.data()};
}

void MetadataCache::RemoveOverflow(Set& set, uint32_t owner, uint64_t page) {
  const auto removed = std::remove_if(
      set.overflow.begin(), set.overflow.end(), [&](const auto& overflow) {
        return overflow->page == page && overflow->owner == owner;
      });
  if (removed == set.overflow.end()) return;
  set.overflow.erase(removed, set.overflow.end());
  set.overflow_count.store(static_cast<uint32_t>(set.overflow.size()),
                           std::memory_order_release);
  set.generation.fetch_add(1, std::memory_order_release);
}

void MetadataCache::Drop(uint32_t owner) {
  for (size_t i = 0; i < set_count_; ++i) {
    Set& set = sets_[i];
    MutexLock lock(set.mutex);
    for (Frame& frame : set.frames) {
      if (frame.owner.load(std::memory_order_relaxed) != owner) continue;
      if (frame.state.pinned()) {
        dirty_pages_.fetch_sub(1, std::memory_order_relaxed);
      }
      frame.state = PageState{};
      frame.version.fetch_add(1, std::memory_order_relaxed);
      frame.page.store(kNoPage, std::memory_order_release);
      frame.owner.store(0, std::memory_order_release);
      frame.version.fetch_add(1, std::memory_order_release);
    }
    const auto dropped = std::remove_if(
        set.overflow.begin(), set.overflow.end(),
        [&](const auto& overflow) { return overflow->owner == owner; });
    for (auto it = dropped; it != set.overflow.end(); ++it) {
      dirty_pages_.fetch_sub(1, std::memory_order_relaxed);
    }
    set.overflow.erase(dropped, set.overflow.end());
    set.overflow_count.store(static_cast<uint32_t>(set.overflow.size()),
                             std::memory_order_release);
  }
}

MetadataPages::MetadataPages(std::shared_ptr<MetadataCache> cache, File& file,
                             uint64_t base_offset, uint64_t length)
    : cache_(std::move(cache)),
      file_(file),
      base_offset_(base_offset),
      length_(length),
      owner_(cache_->NewOwner()) {}

MetadataPages::~MetadataPages() { cache_->Drop(owner_); }

uint64_t MetadataPages::PageLength(uint64_t page) const {
  const uint64_t begin = page * MetadataCache::kPageBytes;
  return begin < length_ ? std::min(MetadataCache::kPageBytes, length_ - begin)
                         : 0;
}

absl::Status MetadataPages::ReadPage(uint64_t page, Words& words) const {
  auto* const bytes = reinterpret_cast<uint8_t*>(words.data());
  const uint64_t wanted = PageLength(page);
  size_t length = 0;
  cache_->counts_.misses.fetch_add(1, std::memory_order_relaxed);
  if (wanted != 0) {
    ASSIGN_OR_RETURN(
        length,
        ReadToEnd(file_, base_offset_ + page * MetadataCache::kPageBytes,
                  absl::MakeSpan(bytes, static_cast<size_t>(wanted))));
  }
  std::memset(bytes + length, 0, MetadataCache::kPageBytes - length);
  for (uint64_t& word : words) word = le64toh(word);
  return absl::OkStatus();
}

// The host sees these reads among those of data, and does not know that they
// go forward.
void MetadataPages::PrefetchBehind(uint64_t page) const {
  constexpr uint64_t kPages = 16;
  uint64_t word = 0;
  if (page == 0 ||
      !cache_->Lookup(owner_, (page - 1) * MetadataCache::kPageWords,
                      absl::MakeSpan(&word, 1))) {
    return;
  }
  const uint64_t begin = (page + 1) * MetadataCache::kPageBytes;
  if (begin >= length_) return;
  file_.WillNeed(
      {base_offset_ + begin,
       std::min(kPages * MetadataCache::kPageBytes, length_ - begin)});
}

absl::StatusOr<size_t> MetadataPages::Read(uint64_t first_word,
                                           absl::Span<uint64_t> words) const {
  const uint64_t page = first_word / MetadataCache::kPageWords;
  const size_t first = first_word % MetadataCache::kPageWords;
  const size_t count =
      std::min<size_t>(words.size(), MetadataCache::kPageWords - first);
  MetadataCache::Set& set = cache_->SetOf(owner_, page);
  while (true) {
    if (cache_->Lookup(owner_, first_word, words.first(count))) {
      cache_->counts_.hits.Add(1);
      return count;
    }

    const uint64_t generation = set.generation.load(std::memory_order_acquire);
    if (set.overflow_count.load(std::memory_order_acquire) != 0) {
      MutexLock lock(set.mutex);
      if (const auto found = cache_->Find(set, owner_, page)) {
        for (size_t i = 0; i < count; ++i) words[i] = found.Load(first + i);
        return count;
      }
    }
    Words content;
    PrefetchBehind(page);
    RETURN_IF_ERROR(ReadPage(page, content));
    {
      MutexLock lock(set.mutex);
      if (set.generation.load(std::memory_order_relaxed) != generation) {
        continue;
      }
      // With the generation unchanged the page is not there yet, unless it was
      // there all along and the search without the lock just missed it.
      if (const auto found = cache_->Find(set, owner_, page)) {
        for (size_t i = 0; i < count; ++i) words[i] = found.Load(first + i);
        return count;
      }
      cache_->Insert(set, owner_, page, content);
    }
    std::copy_n(content.begin() + static_cast<ptrdiff_t>(first), count,
                words.begin());
    return count;
  }
}

absl::StatusOr<uint64_t> MetadataPages::ReadWord(uint64_t word) const {
  uint64_t value = 0;
  RETURN_IF_ERROR(Read(word, absl::MakeSpan(&value, 1)).status());
  return value;
}

absl::Status MetadataPages::ModifyPage(
    uint64_t page, size_t first, size_t count,
    absl::FunctionRef<uint64_t(uint64_t word, uint64_t old)> change) {
  MetadataCache::Set& set = cache_->SetOf(owner_, page);
  Words content;
  bool have_content = false;
  uint64_t generation = 0;
  while (true) {
    {
      MutexLock lock(set.mutex);
      // Under the lock, so that Freeze() drops what comes before it.
      if (frozen_.load(std::memory_order_relaxed)) {
        return ErrnoError(EIO, absl::StrCat(file_.path(), ": metadata"));
      }
      auto found = cache_->Find(set, owner_, page);
      if (!found && have_content &&
          set.generation.load(std::memory_order_relaxed) == generation) {
        found = cache_->Insert(set, owner_, page, content);
        if (!found) found = cache_->InsertOverflow(set, owner_, page, content);
      }
      if (found) {
        if (!found.state->dirty) {
          if (!found.state->writing) {
            cache_->dirty_pages_.fetch_add(1, std::memory_order_relaxed);
          }
          found.state->dirty = true;
          MutexLock list_lock(mutex_);
          dirty_.push_back(page);
          dirty_count_.store(dirty_.size(), std::memory_order_release);
        }
        for (size_t i = first; i < first + count; ++i) {
          found.Store(
              i, change(page * MetadataCache::kPageWords + i, found.Load(i)));
        }
        return absl::OkStatus();
      }
    }
    generation = set.generation.load(std::memory_order_acquire);
    RETURN_IF_ERROR(ReadPage(page, content));
    have_content = true;
  }
}

absl::Status MetadataPages::Modify(
    uint64_t first_word, uint64_t count,
    absl::FunctionRef<uint64_t(uint64_t word, uint64_t old)> change) {
  const uint64_t end = first_word + count;
  for (uint64_t word = first_word; word < end;) {
    const size_t first = word % MetadataCache::kPageWords;
    const size_t here = static_cast<size_t>(
        std::min<uint64_t>(end - word, MetadataCache::kPageWords - first));
    RETURN_IF_ERROR(
        ModifyPage(word / MetadataCache::kPageWords, first, here, change));
    word += here;
  }
  return absl::OkStatus();
}

absl::Status MetadataPages::EnsureSpace(uint64_t first_word, uint64_t count) {
  const uint64_t first_page = first_word / MetadataCache::kPageWords;
  const uint64_t last_page =
      (first_word + count - 1) / MetadataCache::kPageWords;
  for (uint64_t page = first_page; page <= last_page; ++page) {
    MetadataCache::Set& set = cache_->SetOf(owner_, page);
    {
      MutexLock lock(set.mutex);
      const auto found = cache_->Find(set, owner_, page);
      if (found && found.state->has_space) continue;
    }
    RETURN_IF_ERROR(file_.Allocate(
        {base_offset_ + page * MetadataCache::kPageBytes, PageLength(page)}));
    MutexLock lock(set.mutex);
    const auto found = cache_->Find(set, owner_, page);
    if (found) found.state->has_space = true;
  }
  return absl::OkStatus();
}

void MetadataPages::CopyDirty() {
  {
    MutexLock lock(mutex_);
    copies_.clear();
    copies_.swap(dirty_);
    dirty_count_.store(0, std::memory_order_release);
  }
  std::sort(copies_.begin(), copies_.end());
  copied_words_.resize(copies_.size() * MetadataCache::kPageWords);
  uint64_t* target = copied_words_.data();
  for (const uint64_t page : copies_) {
    MetadataCache::Set& set = cache_->SetOf(owner_, page);
    MutexLock lock(set.mutex);
    const auto found = cache_->Find(set, owner_, page);
    found.state->dirty = false;
    found.state->writing = true;
    found.LoadAll(target);
    for (uint64_t i = 0; i < MetadataCache::kPageWords; ++i, ++target) {
      *target = htole64(*target);
    }
  }
}

bool MetadataPages::HasCopiesIn(Extent bytes) const {
  return std::any_of(copies_.begin(), copies_.end(), [&](uint64_t page) {
    return Overlaps(page * MetadataCache::kPageBytes, MetadataCache::kPageBytes,
                    bytes.offset, bytes.length);
  });
}

absl::Status MetadataPages::WriteCopies(absl::Span<const Extent> parts,
                                        bool inside) {
  // One write for what follows one another.
  Extent pending;
  const uint8_t* pending_bytes = nullptr;
  const auto write = [&]() -> absl::Status {
    if (pending.length == 0) return absl::OkStatus();
    const iovec piece{const_cast<uint8_t*>(pending_bytes),
                      static_cast<size_t>(pending.length)};
    return file_.Write(base_offset_ + pending.offset,
                       absl::MakeConstSpan(&piece, 1));
  };
  auto part = parts.begin();
  for (size_t i = 0; i < copies_.size(); ++i) {
    const uint64_t begin = copies_[i] * MetadataCache::kPageBytes;
    const uint64_t end = begin + PageLength(copies_[i]);
    const auto* const bytes = reinterpret_cast<const uint8_t*>(
        copied_words_.data() + i * MetadataCache::kPageWords);
    for (uint64_t at = begin; at < end;) {
      while (part != parts.end() && part->end() <= at) ++part;
      const bool in = part != parts.end() && part->offset <= at;
      uint64_t next = end;
      if (part != parts.end()) {
        next = std::min(end, in ? part->end() : part->offset);
      }
      if (in == inside) {
        if (pending.length == 0 || pending.end() != at) {
          RETURN_IF_ERROR(write());
          pending = {at, 0};
          pending_bytes = bytes + (at - begin);
        }
        pending.length += next - at;
      }
      at = next;
    }
  }
  return write();
}

void MetadataPages::EndCopies(bool durable) {
  for (const uint64_t page : copies_) {
    MetadataCache::Set& set = cache_->SetOf(owner_, page);
    MutexLock lock(set.mutex);
    const auto found = cache_->Find(set, owner_, page);
    found.state->writing = false;
    if (found.state->dirty) continue;
    if (!durable) {
      found.state->dirty = true;
      MutexLock list_lock(mutex_);
      dirty_.push_back(page);
      dirty_count_.store(dirty_.size(), std::memory_order_release);
      continue;
    }
    cache_->dirty_pages_.fetch_sub(1, std::memory_order_relaxed);
    if (found.overflow_words != nullptr) {
      cache_->RemoveOverflow(set, owner_, page);
    }
  }
  ForgetCopies();
}

// Keeps what small rounds need, which are most, and no more: there may be a
// thousand images.
void MetadataPages::ForgetCopies() {
  constexpr size_t kMostPages = 16;
  copies_.clear();
  if (copied_words_.size() <= kMostPages * MetadataCache::kPageWords) return;
  std::vector<uint64_t>().swap(copied_words_);
}

void MetadataPages::Freeze() {
  frozen_.store(true, std::memory_order_relaxed);
  cache_->Drop(owner_);
  ForgetCopies();
  MutexLock lock(mutex_);
  dirty_.clear();
  dirty_count_.store(0, std::memory_order_release);
}

}  // namespace flatcow
