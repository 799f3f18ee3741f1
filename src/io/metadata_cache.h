// SPDX-License-Identifier: Apache-2.0
//
// L2 tables and bitmaps in memory: one cache of 4 KiB pages for all images,
// with one limit.
//
// Shape: a set-associative table of frames that is allocated once. A page can
// be in the eight frames of its set only, so a look-up reads eight tags and
// takes no lock; a version number in each frame, odd while the frame changes
// hands, tells a reader to start again. Entries are atomics: nobody sees half
// of one. A page is filled, modified and evicted under the lock of its set; the
// file is read outside it.
//
// A modified page stays in its frame until a flush round (image/overlay.h) has
// copied it (CopyDirty), written it (WriteCopies) and synced it (FinishCopies):
// nothing else writes metadata. When a set has no frame to give to a page that
// must be modified, the page goes to the set's overflow list: rounds start long
// before that is common.
//
//   clean -> dirty    Modify()
//   dirty -> writing  CopyDirty(); a Modify() from now on makes it dirty again
//   writing -> clean  FinishCopies()
//   writing -> dirty  ReturnCopies()
//   any -> gone       Freeze()
//
// Locks: a set's mutex before MetadataPages::mutex_.
#ifndef FLATCOW_IO_METADATA_CACHE_H_
#define FLATCOW_IO_METADATA_CACHE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "base/striped_counter.h"
#include "flatcow/extent.h"
#include "flatcow/file.h"

namespace flatcow {

class MetadataCache {
 public:
  static constexpr uint64_t kPageBytes = 4096;
  static constexpr uint64_t kPageWords = kPageBytes / sizeof(uint64_t);

  // Pages that came in (misses) and went (evictions); reads that found theirs.
  struct Counts {
    StripedCounter hits;
    std::atomic<uint64_t> misses{0};
    std::atomic<uint64_t> evictions{0};
  };

  explicit MetadataCache(size_t limit_bytes);
  ~MetadataCache();
  MetadataCache(const MetadataCache&) = delete;
  MetadataCache& operator=(const MetadataCache&) = delete;

  // Words from `word` to where its page ends.
  static uint64_t WordsToPageEnd(uint64_t word) {
    return kPageWords - word % kPageWords;
  }

  const Counts& counts() const { return counts_; }
  size_t pages() const { return frame_count_; }
  size_t dirty_pages() const {
    return dirty_pages_.load(std::memory_order_relaxed);
  }

 private:
  friend class MetadataPages;
  friend class RememberedPages;
  friend class RememberedWords;

  static constexpr size_t kWays = 8;
  static constexpr uint64_t kNoPage = ~uint64_t{0};
  using Words = std::array<uint64_t, kPageWords>;

  // What is known of a page besides its words. Guarded by the set's mutex.
  struct PageState {
    bool dirty = false;
    bool writing = false;
    bool has_space = false;  // host space for it is reserved

    bool pinned() const { return dirty || writing; }
  };

  struct Frame {
    std::atomic<uint64_t> page{kNoPage};
    std::atomic<uint32_t> owner{0};
    std::atomic<uint32_t> version{0};  // odd: changing hands
    std::atomic<bool> referenced{false};
    PageState state;
  };

  struct OverflowPage {
    uint64_t page = kNoPage;
    uint32_t owner = 0;
    PageState state;
    Words words{};
  };

  struct alignas(64) Set {
    Mutex mutex;
    // Counts pages that came or went, so that whoever read a page from the file
    // without the lock knows whether the file may have been newer meanwhile.
    std::atomic<uint64_t> generation{0};
    std::atomic<uint32_t> overflow_count{0};
    std::array<Frame, kWays> frames;
    size_t hand ABSL_GUARDED_BY(mutex) = 0;
    std::vector<std::unique_ptr<OverflowPage>> overflow ABSL_GUARDED_BY(mutex);
  };

  // A page found under its set's lock: in a frame or in the overflow list.
  struct Found {
    PageState* state = nullptr;
    std::atomic<uint64_t>* frame_words = nullptr;
    uint64_t* overflow_words = nullptr;

    explicit operator bool() const { return state != nullptr; }
    uint64_t Load(size_t word) const;
    void LoadAll(uint64_t* target) const;
    void Store(size_t word, uint64_t value) const;
  };

  // A name for pages that belong together.
  uint32_t NewOwner() {
    return next_owner_.fetch_add(1, std::memory_order_relaxed);
  }

  Set& SetOf(uint32_t owner, uint64_t page) const;
  // Reads words of one page from its frame, without a lock. Return values:
  // false when no frame holds the page.
  bool Lookup(uint32_t owner, uint64_t first_word,
              absl::Span<uint64_t> words) const;
  std::atomic<uint64_t>* WordsOf(const Set& set, const Frame& frame) const;
  Found Find(Set& set, uint32_t owner, uint64_t page) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(set.mutex);
  // Puts the page into a frame. Return values: empty when all are pinned.
  Found Insert(Set& set, uint32_t owner, uint64_t page, const Words& words)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(set.mutex);
  Found InsertOverflow(Set& set, uint32_t owner, uint64_t page,
                       const Words& words)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(set.mutex);
  void RemoveOverflow(Set& set, uint32_t owner, uint64_t page)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(set.mutex);
  // Forgets every page of `owner`, dirty ones too.
  void Drop(uint32_t owner);

  size_t set_count_ = 0;  // a power of two
  size_t frame_count_ = 0;
  std::unique_ptr<Set[]> sets_;
  std::atomic<uint64_t>* words_ = nullptr;  // frame_count_ pages, mapped
  std::atomic<size_t> dirty_pages_{0};
  std::atomic<uint32_t> next_owner_{1};
  Counts counts_;
};

// What every request does, in sight of its callers.

inline MetadataCache::Set& MetadataCache::SetOf(uint32_t owner,
                                                uint64_t page) const {
  // Neighbouring pages go to neighbouring sets; owners are spread apart.
  const uint64_t mixed = page + owner * uint64_t{0x9e3779b97f4a7c15};
  return sets_[(mixed ^ (mixed >> 32)) & (set_count_ - 1)];
}

inline std::atomic<uint64_t>* MetadataCache::WordsOf(const Set& set,
                                                     const Frame& frame) const {
  const size_t set_index = static_cast<size_t>(&set - sets_.get());
  const size_t way = static_cast<size_t>(&frame - set.frames.data());
  return words_ + (set_index * kWays + way) * kPageWords;
}

inline bool MetadataCache::Lookup(uint32_t owner, uint64_t first_word,
                                  absl::Span<uint64_t> words) const {
  const uint64_t page = first_word / kPageWords;
  const size_t first = first_word % kPageWords;
  Set& set = SetOf(owner, page);
  for (Frame& frame : set.frames) {
    if (frame.page.load(std::memory_order_relaxed) != page) continue;
    const uint32_t version = frame.version.load(std::memory_order_acquire);
    if (version % 2 != 0 ||
        frame.page.load(std::memory_order_acquire) != page ||
        frame.owner.load(std::memory_order_acquire) != owner) {
      continue;
    }
    const std::atomic<uint64_t>* const source = WordsOf(set, frame) + first;
    for (size_t i = 0; i < words.size(); ++i) {
      words[i] = source[i].load(std::memory_order_acquire);
    }
    if (frame.version.load(std::memory_order_relaxed) != version) continue;
    if (!frame.referenced.load(std::memory_order_relaxed)) {
      frame.referenced.store(true, std::memory_order_relaxed);
    }
    return true;
  }
  return false;
}

// The metadata of one file as little-endian 64-bit words, through the cache.
// Word n is at byte base_offset + 8 * n of the file. Thread-safe, but for the
// three calls of a round, which one thread makes in order.
class MetadataPages {
 public:
  // `file` must outlive this. Words at or past `length` bytes (from
  // base_offset) read as 0 and are never written.
  MetadataPages(std::shared_ptr<MetadataCache> cache, File& file,
                uint64_t base_offset, uint64_t length);
  ~MetadataPages();
  MetadataPages(const MetadataPages&) = delete;
  MetadataPages& operator=(const MetadataPages&) = delete;

  // Reads consecutive words. Return values: how many, at least 1: fewer than
  // words.size() where a page ends. Precondition: words not empty.
  absl::StatusOr<size_t> Read(uint64_t first_word,
                              absl::Span<uint64_t> words) const;
  absl::StatusOr<uint64_t> ReadWord(uint64_t word) const;

  // Replaces each of `count` words by change(word, old). A failure leaves the
  // words from some page on as they were: those of one page change all or not
  // at all.
  absl::Status Modify(
      uint64_t first_word, uint64_t count,
      absl::FunctionRef<uint64_t(uint64_t word, uint64_t old)> change);

  // Reserves host space for the pages of these words, so that a round does not
  // run out of it. Cheap when called again.
  absl::Status EnsureSpace(uint64_t first_word, uint64_t count);

  // Forgets every page, none of which is dirty: the file has been changed by
  // others. Nothing else may be under way but HasDirty().
  void Forget() { cache_->Drop(owner_); }

  // Allows words up to `length` bytes. Nothing else may be under way.
  void SetLength(uint64_t length) { length_ = length; }

  bool HasDirty() const {
    return dirty_count_.load(std::memory_order_acquire) != 0;
  }
  // True when half of the cache is dirty and a good part of that is this
  // file's, so that a round helps; or when nearly all is, whosever it is.
  bool WantsRound() const {
    const size_t all = cache_->frame_count_;
    const size_t dirty = cache_->dirty_pages_.load(std::memory_order_relaxed);
    if (dirty * 2 < all) return false;
    const size_t own = dirty_count_.load(std::memory_order_relaxed);
    return own * 64 >= all || (own != 0 && dirty * 4 >= 3 * all);
  }

  // The round. CopyDirty takes what is dirty now. WriteCopies writes what of
  // the copies lies inside (outside) of `parts`, in ascending order. These are
  // extents from base_offset, of whole words, that do not overlap, ascending,
  // too. FinishCopies: the copies are durable. ReturnCopies: they are not; all
  // of them are dirty again.
  void CopyDirty();
  bool HasCopies() const { return !copies_.empty(); }
  bool HasCopiesIn(Extent bytes) const;
  absl::Status WriteCopies(absl::Span<const Extent> parts, bool inside);
  void FinishCopies() { EndCopies(/*durable=*/true); }
  void ReturnCopies() { EndCopies(/*durable=*/false); }

  // Forgets every page, dirty ones too, so that reads tell what the file holds;
  // Modify() fails with EIO from now on.
  void Freeze();

 private:
  using Words = MetadataCache::Words;

  void EndCopies(bool durable);
  void ForgetCopies();
  absl::Status ReadPage(uint64_t page, Words& words) const;
  // Has the host fetch the pages behind one that is about to be read, if the
  // one before it was read.
  void PrefetchBehind(uint64_t page) const;
  absl::Status ModifyPage(
      uint64_t page, size_t first, size_t count,
      absl::FunctionRef<uint64_t(uint64_t word, uint64_t old)> change);
  // Bytes of the page that belong to the area.
  uint64_t PageLength(uint64_t page) const;

  const std::shared_ptr<MetadataCache> cache_;
  File& file_;
  const uint64_t base_offset_;
  uint64_t length_;
  const uint32_t owner_;

  std::atomic<bool> frozen_{false};
  Mutex mutex_;
  std::vector<uint64_t> dirty_ ABSL_GUARDED_BY(mutex_);
  std::atomic<size_t> dirty_count_{0};  // size of dirty_

  // Of the round under way.
  std::vector<uint64_t> copies_;  // page numbers, ascending
  std::vector<uint64_t> copied_words_;
};

}  // namespace flatcow

#endif  // FLATCOW_IO_METADATA_CACHE_H_
