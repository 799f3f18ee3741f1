// SPDX-License-Identifier: Apache-2.0
//
// Where the bytes of backing files are is remembered: a deep chain shows the
// same with and without room to remember, the first time and every other time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "image/open_fixture.h"
#include "io/remembered_words.h"
#include "model/image_testing.h"
#include "support/file_system_wrapper.h"
#include "support/file_wrapper.h"

namespace flatcow {
namespace {

struct Step {
  std::string format;
  uint32_t cluster_size;
  uint64_t size;
};

// From the bottom up. Sizes end inside clusters, clusters of one layer inside
// those of another.
std::vector<Step> Steps() {
  return {{"qed", 4096, 300 * kCluster + 512},
          {"add-cow", 65536, 280 * kCluster + 77},
          {"qed", 8192, 320 * kCluster + 1024},
          {"add-cow", 512, 310 * kCluster + 3},
          {"qed", 4096, 333 * kCluster},
          {"qed", 16384, 333 * kCluster}};
}

class RememberedExtentsTest : public testing::TestWithParam<size_t> {
 protected:
  RememberedExtentsTest() {
    content_ = PatternText(1, 290 * kCluster + 5);
    files_.SetContents("/0", content_);
    std::string backing_format = "raw";
    for (const Step& step : Steps()) {
      const std::string name = absl::StrCat("/", ++count_);
      Make(files_, name,
           {.format = step.format,
            .size = step.size,
            .backing_file = absl::StrCat(count_ - 1),
            .backing_format = backing_format,
            .cluster_size = step.cluster_size,
            .data_file = step.format == "qed" ? "" : name + ".data"});
      backing_format = step.format;
      content_.resize(step.size, '\0');
      ChangeSome(name);
    }
  }

  // Data and zeroes here and there.
  void ChangeSome(const std::string& name) {
    const auto image = Must(OpenImage(files_, name, Writable()));
    for (int i = 0; i < 12; ++i) {
      const uint64_t offset = random_() % content_.size();
      const uint64_t length = std::min<uint64_t>(
          content_.size() - offset, 1 + random_() % (6 * kCluster));
      if (i % 4 == 0) {
        Must(image->WriteZeroes({offset, length}));
        Overwrite(content_, offset, std::string(length, '\0'));
      } else {
        const std::string text = PatternText(random_(), length);
        WriteDisk(*image, offset, text);
        Overwrite(content_, offset, text);
      }
    }
  }

  MemoryFileSystem files_;
  std::mt19937_64 random_{4711};
  std::string content_;
  int count_ = 0;
};

TEST_P(RememberedExtentsTest, ReadsAreAlwaysRight) {
  const auto cache = NewMetadataCache(GetParam());
  const auto pool = NewBackingPool();
  const std::string name = absl::StrCat("/", count_);
  std::string content = content_;
  const auto image = Must(OpenImage(files_, name,
                                    {.access = Access::kReadWrite,
                                     .metadata_cache = cache,
                                     .backing_pool = pool}));
  for (int i = 0; i < 4000; ++i) {
    SCOPED_TRACE(i);
    const uint64_t offset = random_() % content.size();
    const uint64_t length =
        std::min<uint64_t>(content.size() - offset,
                           1 + random_() % (i % 50 == 0 ? 1 << 20 : 9000));
    if (i % 10 == 9) {
      const std::string text = PatternText(random_(), length % 700 + 1);
      if (offset + text.size() > content.size()) continue;
      WriteDisk(*image, offset, text);
      Overwrite(content, offset, text);
    } else if (i % 97 == 0) {
      Must(image->WriteZeroes({offset, length}));
      Overwrite(content, offset, std::string(length, '\0'));
    } else {
      ASSERT_EQ(ReadDisk(*image, {offset, length}),
                content.substr(offset, length));
    }
  }
  ASSERT_TRUE(Shows(*image, content));
}

// One set of eight pages; room for some; room for all.
INSTANTIATE_TEST_SUITE_P(CacheBytes, RememberedExtentsTest,
                         testing::Values(1, 128 << 10, 16 << 20));

// Counts what is read of the files.
class CountingFileSystem final : public FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             Access access) override {
    auto file = files_.Open(path, access);
    if (!file.ok()) return file.status();
    return std::make_unique<CountingFile>(*std::move(file), reads_);
  }

  int reads() const { return reads_; }

 private:
  class CountingFile final : public FileWrapper {
   public:
    CountingFile(std::unique_ptr<File> file, int& reads)
        : FileWrapper(std::move(file)), reads_(reads) {}
    absl::StatusOr<size_t> Read(uint64_t offset,
                                absl::Span<uint8_t> buffer) const override {
      ++reads_;
      return FileWrapper::Read(offset, buffer);
    }
    absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const override {
      auto file = wrapped().Reopen(access);
      if (!file.ok()) return file.status();
      return std::make_unique<CountingFile>(*std::move(file), reads_);
    }

   private:
    int& reads_;
  };

  int reads_ = 0;
};

using SharedKnowledgeTest = RememberedExtentsTest;

TEST_P(SharedKnowledgeTest, SecondImageFindsTheTablesInTheCache) {
  CountingFileSystem files(files_);
  const auto cache = NewMetadataCache(GetParam());
  const auto pool = NewBackingPool();
  const std::string backing = absl::StrCat(count_);
  const auto open = [&](const std::string& name) {
    if (!files_.Exists(name)) {
      Make(files_, name,
           {.format = "qed",
            .size = content_.size(),
            .backing_file = backing,
            .backing_format = "qed"});
    }
    return Must(OpenImage(files, name,
                          {.metadata_cache = cache, .backing_pool = pool}));
  };
  const auto reads_of = [&](Image& image) {
    const int before = files.reads();
    EXPECT_EQ(ReadDisk(image, {100 * kCluster, 1}),
              content_.substr(100 * kCluster, 1));
    return files.reads() - before;
  };
  const auto a = open("/a");
  const auto b = open("/b");
  EXPECT_GT(reads_of(*a), 2);
  // Its own L1 table was read when it was opened; the byte itself.
  EXPECT_EQ(reads_of(*b), 1);
}

INSTANTIATE_TEST_SUITE_P(CacheBytes, SharedKnowledgeTest,
                         testing::Values(16 << 20));

TEST(RememberedWordsTest, KnowsWhatWasStoredAndStopsAtWhatWasNot) {
  const RememberedWords words(NewMetadataCache(1 << 20));
  std::array<uint64_t, 8> found{};
  EXPECT_EQ(words.Find(0, absl::MakeSpan(found)), 0u);
  // Across a page.
  words.Store(508, {1, 2, 3, 4, 5, 0, 7});
  EXPECT_EQ(words.Find(508, absl::MakeSpan(found)), 5u);
  EXPECT_THAT(absl::MakeSpan(found).first(5),
              testing::ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(words.Find(514, absl::MakeSpan(found)), 1u);
  EXPECT_EQ(found[0], 7u);
  EXPECT_EQ(words.Find(507, absl::MakeSpan(found)), 0u);
  // What is not known does not undo what is.
  words.Store(508, {0, 9});
  EXPECT_EQ(words.Find(508, absl::MakeSpan(found).first(2)), 2u);
  EXPECT_EQ(found[0], 1u);
  EXPECT_EQ(found[1], 9u);
}

TEST(RememberedWordsTest, OwnersDoNotMeet) {
  const auto cache = NewMetadataCache(1 << 20);
  const RememberedWords a(cache);
  std::array<uint64_t, 1> found{};
  {
    const RememberedWords b(cache);
    b.Store(3, {7});
    EXPECT_EQ(a.Find(3, absl::MakeSpan(found)), 0u);
  }
  const RememberedWords c(cache);
  EXPECT_EQ(c.Find(3, absl::MakeSpan(found)), 0u);
}

}  // namespace
}  // namespace flatcow
