// SPDX-License-Identifier: Apache-2.0
//
// The metadata of one file in memory, through a cache of its own.
//
//   MemoryPages memory(/*page_count=*/64, /*cache_pages=*/1024);
//   memory.ModifyAll();
//   memory.Round();
#ifndef FLATCOW_BENCH_MEMORY_PAGES_H_
#define FLATCOW_BENCH_MEMORY_PAGES_H_

#include <cstdint>
#include <memory>

#include "flatcow/image.h"
#include "io/metadata_cache.h"
#include "memory_overlay.h"
#include "need.h"
#include "support/memory_file_system.h"

namespace flatcow::bench {

class MemoryPages {
 public:
  MemoryPages(uint64_t page_count, uint64_t cache_pages)
      : page_count_(page_count),
        file_(NewFile(files_, page_count * MetadataCache::kPageBytes)),
        pages_(NewMetadataCache(cache_pages * MetadataCache::kPageBytes),
               *file_, 0, page_count * MetadataCache::kPageBytes) {}

  MetadataPages& pages() { return pages_; }

  // The first word of a page; they come round.
  uint64_t FirstWord(uint64_t page) const {
    return page % page_count_ * MetadataCache::kPageWords;
  }

  // A word of the page, as a bit of an add-cow bitmap is set.
  void Modify(uint64_t page) {
    Need(pages_.Modify(FirstWord(page), 1,
                       [](uint64_t, uint64_t old) { return old + 1; }));
  }
  void ModifyAll() {
    for (uint64_t page = 0; page < page_count_; ++page) Modify(page);
  }

  void Round() {
    pages_.CopyDirty();
    Need(pages_.WriteCopies({}, /*inside=*/false));
    pages_.FinishCopies();
  }

 private:
  static std::unique_ptr<File> NewFile(MemoryFileSystem& files,
                                       uint64_t length) {
    CreateRaw(files, "/metadata", length);
    return Need(files.Open("/metadata", Access::kReadWrite));
  }

  const uint64_t page_count_;
  MemoryFileSystem files_;
  const std::unique_ptr<File> file_;
  MetadataPages pages_;
};

}  // namespace flatcow::bench

#endif  // FLATCOW_BENCH_MEMORY_PAGES_H_
