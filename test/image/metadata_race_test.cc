// SPDX-License-Identifier: Apache-2.0
//
// A page that changes, is written and is evicted while another thread has just
// read it from the file: what that thread holds is old.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "io/metadata_cache.h"
#include "model/image_testing.h"
#include "support/file_wrapper.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

constexpr uint64_t kWords = MetadataCache::kPageWords;

// Calls `then` once, between the read of a file and its return.
class InterruptedFile final : public FileWrapper {
 public:
  using FileWrapper::FileWrapper;

  void InterruptNextRead(std::function<void()> then) {
    then_ = std::move(then);
  }

  absl::StatusOr<size_t> Read(uint64_t offset,
                              absl::Span<uint8_t> buffer) const override {
    auto result = wrapped().Read(offset, buffer);
    if (const auto then = std::exchange(then_, nullptr)) then();
    return result;
  }

  absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const override {
    return wrapped().Reopen(access);
  }

 private:
  mutable std::function<void()> then_;
};

class MetadataRaceTest : public testing::Test {
 protected:
  MetadataRaceTest() {
    memory_.SetContents("/f", std::string(64 * MetadataCache::kPageBytes, 1));
    file_ = std::make_unique<InterruptedFile>(
        Must(memory_.Open("/f", Access::kReadWrite)));
    pages_ = std::make_unique<MetadataPages>(
        NewMetadataCache(1), *file_, 0, std::numeric_limits<int64_t>::max());
  }

  void Set(uint64_t word, uint64_t value) {
    Must(pages_->Modify(word, 1, [&](uint64_t, uint64_t) { return value; }));
  }

  // Word 0 becomes 7 in the file, and its page leaves the cache.
  void ChangeAndEvict() {
    Set(0, 7);
    pages_->CopyDirty();
    Must(pages_->WriteCopies({}, /*inside=*/false));
    pages_->FinishCopies();
    for (int pass = 0; pass < 2; ++pass) {
      for (uint64_t page = 1; page < 64; ++page) {
        Must(pages_->ReadWord(page * kWords).status());
      }
    }
  }

  MemoryFileSystem memory_;
  std::unique_ptr<InterruptedFile> file_;
  std::unique_ptr<MetadataPages> pages_;
};

TEST_F(MetadataRaceTest, AReaderDoesNotBringBackOldWords) {
  file_->InterruptNextRead([this] { ChangeAndEvict(); });
  EXPECT_EQ(Must(pages_->ReadWord(0)), 7u);
  EXPECT_EQ(Must(pages_->ReadWord(0)), 7u);
}

TEST_F(MetadataRaceTest, AWriterDoesNotBringBackOldWords) {
  file_->InterruptNextRead([this] { ChangeAndEvict(); });
  Set(1, 8);
  EXPECT_EQ(Must(pages_->ReadWord(0)), 7u);
  EXPECT_EQ(Must(pages_->ReadWord(1)), 8u);
}

}  // namespace
}  // namespace flatcow
