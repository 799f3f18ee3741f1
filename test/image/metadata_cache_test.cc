// SPDX-License-Identifier: Apache-2.0
#include "io/metadata_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "model/disk_model.h"
#include "model/image_testing.h"
#include "support/fault_injection_file_system.h"
#include "support/file_wrapper.h"
#include "support/memory_file_system.h"
#include "support/recording_file_system.h"

namespace flatcow {
namespace {

constexpr uint64_t kPage = MetadataCache::kPageBytes;
constexpr uint64_t kWords = MetadataCache::kPageWords;
constexpr uint64_t kLength = std::numeric_limits<int64_t>::max();
// The least a cache can have is one set of eight pages.
constexpr uint64_t kFewPages = 8;

class MetadataCacheTest : public testing::Test {
 protected:
  MetadataCacheTest() {
    std::string bytes;
    for (uint64_t word = 0; word < 64 * kWords; ++word) {
      bytes += Little64(word + 1);
    }
    memory_.SetContents("/f", bytes);
    file_ = Must(recording_.Open("/f", Access::kReadWrite));
  }

  MetadataPages Pages(uint64_t base = 0, uint64_t length = kLength) {
    return {cache_, *file_, base, length};
  }

  static void Set(MetadataPages& pages, uint64_t word, uint64_t value) {
    Must(pages.Modify(word, 1, [&](uint64_t, uint64_t) { return value; }));
  }

  // One round; all pages in one go.
  static void Round(MetadataPages& pages) {
    pages.CopyDirty();
    Must(pages.WriteCopies({}, /*inside=*/false));
    pages.FinishCopies();
  }

  uint64_t OnDisk(uint64_t word) {
    const std::string bytes = memory_.Contents("/f").substr(word * 8, 8);
    uint64_t value = 0;
    for (size_t i = 8; i-- > 0;) {
      value = value << 8 | static_cast<uint8_t>(bytes[i]);
    }
    return value;
  }

  uint64_t Reads() const { return faulty_.Count(kReadFault); }

  // Lengths of the writes so far.
  std::vector<uint64_t> WriteLengths() const {
    std::vector<uint64_t> lengths;
    for (const FileOperation& operation : recording_.Operations()) {
      if (operation.kind == FileOperation::Kind::kWrite) {
        lengths.push_back(operation.length);
      }
    }
    return lengths;
  }

  MemoryFileSystem memory_;
  FaultInjectionFileSystem faulty_{memory_};
  RecordingFileSystem recording_{faulty_};
  std::unique_ptr<File> file_;
  std::shared_ptr<MetadataCache> cache_ = NewMetadataCache(1);
};

TEST_F(MetadataCacheTest, ReadsLittleEndianWordsFromTheBase) {
  const auto pages = Pages(16);
  EXPECT_EQ(Must(pages.ReadWord(0)), 3u);
  EXPECT_EQ(Must(pages.ReadWord(700)), 703u);
}

TEST_F(MetadataCacheTest, AReadEndsWhereThePageEnds) {
  const auto pages = Pages();
  std::vector<uint64_t> words(10);
  EXPECT_EQ(Must(pages.Read(kWords - 3, absl::MakeSpan(words))), 3u);
  EXPECT_EQ(words[2], kWords);
  EXPECT_EQ(Must(pages.Read(kWords, absl::MakeSpan(words))), 10u);
}

TEST_F(MetadataCacheTest, WordsPastTheLengthAreZero) {
  const auto pages = Pages(0, 800);
  EXPECT_EQ(Must(pages.ReadWord(99)), 100u);
  EXPECT_EQ(Must(pages.ReadWord(100)), 0u);
  EXPECT_EQ(Must(pages.ReadWord(10 * kWords)), 0u);
}

TEST_F(MetadataCacheTest, WordsPastTheEndOfTheFileAreZero) {
  memory_.SetContents("/f", Little64(7) + std::string("\x09\x01", 2));
  const auto pages = Pages();
  EXPECT_EQ(Must(pages.ReadWord(0)), 7u);
  EXPECT_EQ(Must(pages.ReadWord(1)), 0x109u);
  EXPECT_EQ(Must(pages.ReadWord(2)), 0u);
  EXPECT_EQ(Must(pages.ReadWord(uint64_t{1} << 50)), 0u);
}

TEST_F(MetadataCacheTest, APageIsReadOnce) {
  const auto pages = Pages();
  for (uint64_t word = 0; word < kWords; ++word) {
    EXPECT_EQ(Must(pages.ReadWord(word)), word + 1);
  }
  EXPECT_EQ(Reads(), 1u);
}

TEST_F(MetadataCacheTest, CleanPagesAreEvicted) {
  const auto pages = Pages();
  for (int pass = 0; pass < 2; ++pass) {
    for (uint64_t page = 0; page < 64; ++page) {
      EXPECT_EQ(Must(pages.ReadWord(page * kWords)), page * kWords + 1);
    }
  }
  // Eight of 64 fit, so that little was there the second time.
  EXPECT_GE(Reads(), 64u + 64u - kFewPages);
}

TEST_F(MetadataCacheTest, AReadErrorIsPassedOnAndTheNextReadTriesAgain) {
  const auto pages = Pages();
  faulty_.Inject({.kinds = kReadFault});
  EXPECT_TRUE(Fails(pages.ReadWord(5), EIO, "/f"));
  EXPECT_EQ(Must(pages.ReadWord(5)), 6u);
}

TEST_F(MetadataCacheTest, AModifyThatCannotReadChangesNothing) {
  auto pages = Pages();
  faulty_.Inject({.kinds = kReadFault});
  EXPECT_TRUE(
      Fails(pages.Modify(5, 1, [](uint64_t, uint64_t) { return 0; }), EIO));
  EXPECT_FALSE(pages.HasDirty());
  EXPECT_EQ(Must(pages.ReadWord(5)), 6u);
}

TEST_F(MetadataCacheTest, ModifySeesWordAndOldValueAcrossPages) {
  auto pages = Pages();
  Must(pages.Modify(kWords - 2, 4, [](uint64_t word, uint64_t old) {
    EXPECT_EQ(old, word + 1);
    return old * 2;
  }));
  for (uint64_t word = kWords - 2; word < kWords + 2; ++word) {
    EXPECT_EQ(Must(pages.ReadWord(word)), 2 * (word + 1));
  }
  EXPECT_EQ(Must(pages.ReadWord(kWords - 3)), kWords - 2);
  EXPECT_EQ(Must(pages.ReadWord(kWords + 2)), kWords + 3);
}

TEST_F(MetadataCacheTest, DirtyPagesReachTheFileInARoundOnly) {
  auto pages = Pages();
  Set(pages, 3, 1000);
  for (uint64_t page = 1; page < 64; ++page) {
    Must(pages.ReadWord(page * kWords).status());
  }
  EXPECT_EQ(Must(pages.ReadWord(3)), 1000u);
  EXPECT_EQ(OnDisk(3), 4u);
  EXPECT_TRUE(pages.HasDirty());
  Round(pages);
  EXPECT_EQ(OnDisk(3), 1000u);
  EXPECT_EQ(OnDisk(4), 5u);
  EXPECT_FALSE(pages.HasDirty());
}

TEST_F(MetadataCacheTest, MoreDirtyPagesThanFit) {
  auto pages = Pages();
  for (uint64_t page = 0; page < 50; ++page) {
    Set(pages, page * kWords + page, 1000 + page);
  }
  for (uint64_t page = 0; page < 50; ++page) {
    EXPECT_EQ(Must(pages.ReadWord(page * kWords + page)), 1000 + page);
    EXPECT_EQ(OnDisk(page * kWords + page), page * kWords + page + 1);
  }
  Round(pages);
  EXPECT_FALSE(pages.WantsRound());
  for (uint64_t page = 0; page < 50; ++page) {
    EXPECT_EQ(Must(pages.ReadWord(page * kWords + page)), 1000 + page);
    EXPECT_EQ(OnDisk(page * kWords + page), 1000 + page);
  }
}

// Pages 0 and 40: one in a frame, one that found none.
TEST_F(MetadataCacheTest, AModifyDuringARoundWaitsForTheNext) {
  auto pages = Pages();
  for (uint64_t page = 0; page < 50; ++page) Set(pages, page * kWords, 1);
  pages.CopyDirty();
  EXPECT_FALSE(pages.HasDirty());
  EXPECT_TRUE(pages.HasCopies());
  for (const uint64_t page : {0u, 40u}) Set(pages, page * kWords, 2);
  Must(pages.WriteCopies({}, /*inside=*/false));
  pages.FinishCopies();
  for (const uint64_t page : {0u, 40u}) {
    EXPECT_EQ(OnDisk(page * kWords), 1u);
    EXPECT_EQ(Must(pages.ReadWord(page * kWords)), 2u);
  }
  EXPECT_TRUE(pages.HasDirty());
  Round(pages);
  for (const uint64_t page : {0u, 40u}) EXPECT_EQ(OnDisk(page * kWords), 2u);
  EXPECT_FALSE(pages.HasDirty());
}

// Until then the file may hold what it held before.
TEST_F(MetadataCacheTest, APageOfARoundStaysUntilItIsDurable) {
  auto pages = Pages();
  Set(pages, 0, 7);
  pages.CopyDirty();
  for (int pass = 0; pass < 2; ++pass) {
    for (uint64_t page = 1; page < 64; ++page) {
      Must(pages.ReadWord(page * kWords).status());
    }
  }
  EXPECT_EQ(Must(pages.ReadWord(0)), 7u);
  Must(pages.WriteCopies({}, /*inside=*/false));
  pages.FinishCopies();
  EXPECT_EQ(Must(pages.ReadWord(0)), 7u);
  EXPECT_EQ(OnDisk(0), 7u);
}

TEST_F(MetadataCacheTest, CopiesAreWrittenInsideAndOutside) {
  auto pages = Pages();
  for (const uint64_t page : {1u, 3u, 5u}) Set(pages, page * kWords, 9);
  pages.CopyDirty();
  const Extent middle{3 * kPage, kPage};
  EXPECT_TRUE(pages.HasCopiesIn(middle));
  EXPECT_FALSE(pages.HasCopiesIn({4 * kPage, kPage}));
  Must(pages.WriteCopies({middle}, /*inside=*/false));
  EXPECT_EQ(OnDisk(kWords), 9u);
  EXPECT_NE(OnDisk(3 * kWords), 9u);
  EXPECT_EQ(OnDisk(5 * kWords), 9u);
  Must(pages.WriteCopies({middle}, /*inside=*/true));
  EXPECT_EQ(OnDisk(3 * kWords), 9u);
  pages.FinishCopies();
}

TEST_F(MetadataCacheTest, NeighboursAreWrittenTogether) {
  auto pages = Pages();
  for (const uint64_t page : {7u, 2u, 3u, 4u}) Set(pages, page * kWords, 9);
  Round(pages);
  EXPECT_EQ(WriteLengths(), (std::vector<uint64_t>{3 * kPage, kPage}));
}

TEST_F(MetadataCacheTest, NothingIsWrittenPastTheLength) {
  auto pages = Pages(512, kPage + 600);
  Set(pages, 0, 9);
  Set(pages, kWords, 9);
  Round(pages);
  EXPECT_EQ(WriteLengths(), (std::vector<uint64_t>{kPage + 600}));
  EXPECT_EQ(OnDisk(64), 9u);
  EXPECT_EQ(OnDisk(64 + kWords), 9u);
  EXPECT_EQ(OnDisk(64 + kWords + 75), 64 + kWords + 75 + 1);
}

TEST_F(MetadataCacheTest, WantsARoundWhenHalfOfAllPagesAreDirty) {
  auto pages = Pages();
  for (uint64_t page = 0; page + 1 < kFewPages / 2; ++page) {
    for (uint64_t word = 0; word < 5; ++word) {
      Set(pages, page * kWords + word, 1);
    }
    EXPECT_FALSE(pages.WantsRound());
  }
  Set(pages, 20 * kWords, 1);
  EXPECT_TRUE(pages.WantsRound());
  pages.CopyDirty();
  EXPECT_FALSE(pages.WantsRound());
  // Those of the round still count.
  Set(pages, 21 * kWords, 1);
  EXPECT_TRUE(pages.WantsRound());
  Must(pages.WriteCopies({}, false));
  pages.FinishCopies();
  EXPECT_FALSE(pages.WantsRound());
}

TEST_F(MetadataCacheTest, WantsNoRoundForTheDirtyPagesOfOthers) {
  constexpr uint64_t kFrames = 512;
  const auto cache = NewMetadataCache(kFrames * kPage);
  MetadataPages busy(cache, *file_, 0, kLength);
  MetadataPages other(cache, *file_, 0, kLength);
  const auto set_pages = [](MetadataPages& pages, uint64_t begin,
                            uint64_t end) {
    for (uint64_t page = begin; page < end; ++page) {
      Set(pages, page * kWords, 1);
    }
  };
  set_pages(busy, 0, kFrames / 2);
  set_pages(other, 0, 1);
  EXPECT_TRUE(busy.WantsRound());
  EXPECT_FALSE(other.WantsRound());
  set_pages(other, 1, kFrames / 64);
  EXPECT_TRUE(other.WantsRound());
  Round(other);
  set_pages(other, 0, 1);
  EXPECT_FALSE(other.WantsRound());
  // Hardly any room left: everybody helps.
  set_pages(busy, kFrames / 2, 3 * kFrames / 4);
  EXPECT_TRUE(other.WantsRound());
}

TEST_F(MetadataCacheTest, OwnersDoNotMix) {
  memory_.SetContents("/other", std::string(64 * kPage, 'o'));
  const auto other_file = Must(memory_.Open("/other", Access::kReadWrite));
  auto pages = Pages();
  MetadataPages other(cache_, *other_file, 0, kLength);
  for (uint64_t page = 0; page < 30; ++page) {
    Set(pages, page * kWords, 1);
    Set(other, page * kWords, 2);
  }
  for (uint64_t page = 0; page < 30; ++page) {
    EXPECT_EQ(Must(pages.ReadWord(page * kWords)), 1u);
    EXPECT_EQ(Must(other.ReadWord(page * kWords)), 2u);
  }
  Round(pages);
  EXPECT_TRUE(other.HasDirty());
  EXPECT_EQ(OnDisk(0), 1u);
  EXPECT_EQ(memory_.Contents("/other")[0], 'o');
}

TEST_F(MetadataCacheTest, AnOwnerThatGoesLeavesNothingDirty) {
  auto pages = Pages();
  {
    auto gone = Pages();
    for (uint64_t page = 0; page < 30; ++page) Set(gone, page * kWords, 1);
    EXPECT_TRUE(gone.WantsRound());
  }
  Set(pages, 40 * kWords, 1);
  EXPECT_FALSE(pages.WantsRound());
  EXPECT_EQ(Must(pages.ReadWord(0)), 1u);  // the file's own word 0
  EXPECT_EQ(OnDisk(kWords), kWords + 1);
}

TEST_F(MetadataCacheTest, GrowingTheLengthUncoversZeroes) {
  auto pages = Pages(0, 800);
  Set(pages, 99, 5);
  pages.SetLength(kPage);
  Set(pages, 100, 6);
  Round(pages);
  EXPECT_EQ(OnDisk(99), 5u);
  EXPECT_EQ(OnDisk(100), 6u);
}

TEST_F(MetadataCacheTest, EnsureSpaceAsksForEachPageOnce) {
  auto pages = Pages();
  Set(pages, 0, 1);
  Set(pages, kWords, 1);
  Must(pages.EnsureSpace(0, 2 * kWords));
  EXPECT_EQ(faulty_.Count(kAllocateFault), 2u);
  Must(pages.EnsureSpace(5, kWords));
  EXPECT_EQ(faulty_.Count(kAllocateFault), 2u);
  faulty_.Inject({.kinds = kAllocateFault, .error = ENOSPC});
  EXPECT_TRUE(Fails(pages.EnsureSpace(9 * kWords, 1), ENOSPC, "/f"));
}

// ---- Threads ----

// Words only grow. Readers, writers and rounds side by side, in a cache where
// pages come and go all the time: nobody sees a value go back.
TEST_F(MetadataCacheTest, NothingGoesBack) {
  memory_.SetContents("/f", std::string(40 * kPage, '\0'));
  const uint64_t seed = SeedFor(0);
  SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
  constexpr uint64_t kWriters = 3;
  constexpr uint64_t kSteps = 3000;
  constexpr uint64_t kWordsUsed = 40;
  auto pages = Pages();
  std::atomic<uint64_t> running{kWriters};
  std::atomic<uint64_t> wrong{0};
  std::array<std::atomic<uint64_t>, kWordsUsed> counts{};
  std::vector<std::thread> threads;
  for (uint64_t writer = 0; writer < kWriters; ++writer) {
    threads.emplace_back([&, writer] {
      std::mt19937_64 random(seed + writer);
      for (uint64_t i = 0; i < kSteps; ++i) {
        const uint64_t n = random() % kWordsUsed;
        const absl::Status status = pages.Modify(
            n * kWords + n, 1, [](uint64_t, uint64_t old) { return old + 1; });
        if (!status.ok()) ++wrong;
        ++counts[n];
      }
      --running;
    });
  }
  for (uint64_t reader = 0; reader < 3; ++reader) {
    threads.emplace_back([&, reader] {
      std::mt19937_64 random(seed + 100 + reader);
      std::array<uint64_t, kWordsUsed> seen{};
      while (running != 0) {
        const uint64_t n = random() % kWordsUsed;
        const uint64_t counted = counts[n];
        const auto value = pages.ReadWord(n * kWords + n);
        if (!value.ok() || *value < seen[n] || *value < counted) ++wrong;
        if (value.ok()) seen[n] = *value;
      }
    });
  }
  threads.emplace_back([&] {
    while (running != 0) Round(pages);
  });
  for (std::thread& thread : threads) thread.join();
  Round(pages);
  EXPECT_EQ(wrong, 0u);
  for (uint64_t n = 0; n < kWordsUsed; ++n) {
    EXPECT_EQ(Must(pages.ReadWord(n * kWords + n)), counts[n]);
    EXPECT_EQ(OnDisk(n * kWords + n), counts[n]);
  }
}

// Runs of words are read whole, while others evict and modify their page.
TEST_F(MetadataCacheTest, ReadersShareACacheWithManyOwners) {
  constexpr int kOwners = 8;
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (int owner = 0; owner < kOwners; ++owner) {
    threads.emplace_back([&, owner] {
      std::mt19937_64 random(static_cast<uint64_t>(owner));
      std::array<uint64_t, 20> words;
      for (int life = 0; life < 5; ++life) {
        const auto pages = Pages();
        for (int i = 0; i < 300; ++i) {
          const uint64_t first = random() % (63 * kWords);
          const auto count = pages.Read(first, absl::MakeSpan(words));
          if (!count.ok()) ++wrong;
          for (size_t n = 0; count.ok() && n < *count; ++n) {
            if (words[n] != first + n + 1) ++wrong;
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
}

// Ten pages for eight frames: most reads find their page, and every fifth one
// takes a frame from under the others.
TEST_F(MetadataCacheTest, AWholePageIsNeverHalfOfAnother) {
  constexpr uint64_t kPages = 10;
  const auto pages = Pages();
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937_64 random(seed);
      std::array<uint64_t, kWords> words;
      for (int i = 0; i < 5000; ++i) {
        const uint64_t first = random() % kPages * kWords;
        if (!pages.Read(first, absl::MakeSpan(words)).ok()) ++wrong;
        for (size_t n = 0; n < kWords; ++n) {
          if (words[n] != first + n + 1) ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
}

// Notes what is announced.
class AnnouncedFile final : public FileWrapper {
 public:
  using FileWrapper::FileWrapper;
  void WillNeed(Extent extent) const override { announced_.push_back(extent); }
  absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const override {
    return wrapped().Reopen(access);
  }
  std::vector<Extent> TakeAnnounced() { return std::exchange(announced_, {}); }

 private:
  mutable std::vector<Extent> announced_;
};

TEST_F(MetadataCacheTest, ReadingForwardsAnnouncesWhatFollows) {
  AnnouncedFile file(Must(memory_.Open("/f", Access::kReadOnly)));
  const uint64_t base = 512;
  const uint64_t length = 40 * kPage + 100;
  const MetadataPages pages(NewMetadataCache(1 << 20), file, base, length);
  Must(pages.ReadWord(0).status());
  Must(pages.ReadWord(20 * kWords).status());
  EXPECT_TRUE(file.TakeAnnounced().empty());
  Must(pages.ReadWord(21 * kWords).status());
  EXPECT_EQ(file.TakeAnnounced(),
            (std::vector<Extent>{{base + 22 * kPage, 16 * kPage}}));
  // Not what lies behind the end, and nothing for what is there already.
  Must(pages.ReadWord(37 * kWords).status());
  Must(pages.ReadWord(38 * kWords).status());
  EXPECT_EQ(file.TakeAnnounced(),
            (std::vector<Extent>{{base + 39 * kPage, kPage + 100}}));
  Must(pages.ReadWord(40 * kWords).status());
  Must(pages.ReadWord(21 * kWords).status());
  EXPECT_TRUE(file.TakeAnnounced().empty());
}

}  // namespace
}  // namespace flatcow
