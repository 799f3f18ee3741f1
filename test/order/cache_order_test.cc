// SPDX-License-Identifier: Apache-2.0
//
// The metadata cache: the look-up without a lock in every order of the accesses
// to its atomics; a page read from the file while another thread changes it.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/metadata_cache.h"
#include "model/image_testing.h"
#include "order/explorer.h"
#include "support/memory_file_system.h"

namespace flatcow::order {
namespace {

constexpr uint64_t kLimit = 100000;
constexpr uint64_t kWays = 8;
constexpr uint64_t kWord = 5;
constexpr uint64_t kNew = 1000;

class CacheOrderTest : public testing::Test {
 protected:
  // Every word says which page it is of.
  void SetUp() override {
    for (uint64_t page = 0; page <= kWays; ++page) {
      for (uint64_t i = 0; i < MetadataCache::kPageWords; ++i) {
        content_ += Little64(page + 1);
      }
    }
    files_.SetContents("/tables", content_);
    file_ = Must(files_.Open("/tables", Access::kReadWrite));
  }

  static void SetWord(MetadataPages& pages, uint64_t word) {
    Must(pages.Modify(word, 1, [](uint64_t, uint64_t) { return kNew; }));
  }

  // Page 0 has a new word; a round has written it, and the cache dropped it.
  static void ChangeWriteAndEvict(MetadataPages& pages, uint64_t word) {
    SetWord(pages, word);
    pages.CopyDirty();
    Must(pages.WriteCopies({}, /*inside=*/false));
    pages.FinishCopies();
    for (uint64_t page = 1; page <= kWays; ++page) {
      Must(pages.ReadWord(WordIn(page)));
    }
  }

  // Beside `other`, in every order of locks and file operations; then the first
  // page must have `new_words` new words.
  void ChangeBeside(const std::function<void(MetadataPages&)>& other,
                    uint64_t new_words) {
    int wrong = 0;
    const uint64_t count = ExploreAll(
        [&](const Chooser& choose) {
          files_.SetContents("/tables", content_);
          MetadataPages pages(std::make_shared<MetadataCache>(1), *file_, 0,
                              content_.size());
          std::vector<Step> steps =
              RunThreads({[&] { other(pages); },
                          [&] { ChangeWriteAndEvict(pages, WordIn(0)); }},
                         "change", choose);
          for (uint64_t i = 0; i < new_words; ++i) {
            if (Must(pages.ReadWord(WordIn(0) + i)) != kNew) ++wrong;
          }
          return steps;
        },
        kLimit);
    EXPECT_LT(count, kLimit);
    EXPECT_EQ(wrong, 0);
  }

  static uint64_t WordIn(uint64_t page) {
    return page * MetadataCache::kPageWords + kWord;
  }

  MemoryFileSystem files_;
  std::string content_;
  std::unique_ptr<File> file_;
};

TEST_F(CacheOrderTest, AReaderSeesItsPageWhileAnotherTakesTheFrame) {
  const PauseAtAtomics all;
  int wrong = 0;
  const uint64_t count = ExploreAll(
      [&](const Chooser& choose) {
        MetadataPages pages(std::make_shared<MetadataCache>(1), *file_, 0,
                            content_.size());
        for (uint64_t page = 0; page < kWays; ++page) {
          Must(pages.ReadWord(WordIn(page)));
        }
        const auto read = [&](uint64_t page) {
          const auto word = pages.ReadWord(WordIn(page));
          if (!word.ok() || *word != page + 1) ++wrong;
        };
        return RunThreads({[&] { read(0); }, [&] { read(kWays); }}, "frame",
                          choose);
      },
      kLimit);
  EXPECT_LT(count, kLimit);
  EXPECT_EQ(wrong, 0);
}

TEST_F(CacheOrderTest, AReaderLeavesNoOldPageBehind) {
  ChangeBeside(
      [](MetadataPages& pages) {
        const uint64_t word = Must(pages.ReadWord(WordIn(0)));
        EXPECT_TRUE(word == 1 || word == kNew) << word;
      },
      1);
}

TEST_F(CacheOrderTest, AChangeIsMadeToTheNewestPage) {
  ChangeBeside([](MetadataPages& pages) { SetWord(pages, WordIn(0) + 1); }, 2);
}

}  // namespace
}  // namespace flatcow::order
