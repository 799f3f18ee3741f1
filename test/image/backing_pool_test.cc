// SPDX-License-Identifier: Apache-2.0
//
// Images on the same backing file share it, and only then.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "image/open_fixture.h"
#include "model/image_testing.h"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

// With real files: how often each is open can be seen.
class BackingPoolTest : public testing::Test {
 protected:
  BackingPoolTest() {
    SetFile("base", base_);
    MakeOverlay("golden", "base", "raw");
    WriteDisk(*OpenAlone("golden"), kCluster, golden_text_);
    Overwrite(content_, kCluster, golden_text_);
  }

  std::string Path(const std::string& name) const { return directory_ / name; }
  void SetFile(const std::string& name, const std::string& content) {
    const auto file = Must(PosixFileSystem().Create(Path(name)));
    const iovec piece{const_cast<char*>(content.data()), content.size()};
    Must(file->Write(0, absl::MakeConstSpan(&piece, 1)));
  }
  void MakeOverlay(const std::string& name, const std::string& backing,
                   const std::string& format) {
    Make(PosixFileSystem(), Path(name),
         {.format = "qed",
          .size = base_.size(),
          .backing_file = backing,
          .backing_format = format,
          .cluster_size = kCluster});
  }
  // On the golden image, with "data".
  void MakeAddCow(const std::string& name) {
    Make(PosixFileSystem(), Path(name),
         {.format = "add-cow",
          .size = base_.size(),
          .backing_file = "golden",
          .backing_format = "qed",
          .cluster_size = kCluster,
          .data_file = "data"});
  }
  std::unique_ptr<Image> OpenAlone(const std::string& name) {
    return Must(OpenImage(PosixFileSystem(), Path(name),
                          {.access = Access::kReadWrite}));
  }
  absl::StatusOr<std::unique_ptr<Image>> TryOpen(const std::string& name) {
    return OpenImage(PosixFileSystem(), Path(name),
                     {.access = Access::kReadWrite,
                      .lock = lock_,
                      .metadata_cache = cache_,
                      .backing_pool = pool_});
  }
  std::unique_ptr<Image> Open(const std::string& name) {
    return Must(TryOpen(name));
  }
  // How many descriptors of this process are open on the file.
  int Descriptors(const std::string& name) const {
    int count = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      if (std::filesystem::read_symlink(entry, gone) == Path(name)) ++count;
    }
    return count;
  }

  TemporaryDirectory directory_;
  const std::string base_ = PatternText(1, 16 * kCluster);
  const std::string golden_text_ = PatternText(2, 3 * kCluster);
  std::string content_ = base_;
  const std::shared_ptr<MetadataCache> cache_ = NewMetadataCache(1 << 20);
  const std::shared_ptr<BackingPool> pool_ = NewBackingPool();
  bool lock_ = true;
};

TEST_F(BackingPoolTest, ManyImagesOpenTheirBackingFilesOnce) {
  std::vector<std::unique_ptr<Image>> images;
  for (int i = 0; i < 5; ++i) {
    const std::string name = absl::StrCat("overlay", i);
    MakeOverlay(name, "golden", "qed");
    images.push_back(Open(name));
    EXPECT_TRUE(Shows(*images.back(), content_));
    EXPECT_EQ(
        images.back()->ChainPaths(),
        std::vector<std::string>({Path(name), Path("golden"), Path("base")}));
  }
  EXPECT_EQ(Descriptors("golden"), 1);
  EXPECT_EQ(Descriptors("base"), 1);
  // It stays, locked, as long as one of them does.
  images.erase(images.begin(), images.end() - 1);
  EXPECT_TRUE(Shows(*images.back(), content_));
  EXPECT_TRUE(Fails(TryOpen("golden"), EBUSY, "golden"));
  images.clear();
  EXPECT_EQ(Descriptors("golden"), 0);
  EXPECT_EQ(Descriptors("base"), 0);
}

TEST_F(BackingPoolTest, OverlaysOfBothFormatsShare) {
  MakeOverlay("a", "golden", "qed");  // which records that it is to be probed
  MakeAddCow("b");
  const auto a = Open("a");
  const auto b = Open("b");
  EXPECT_EQ(Descriptors("golden"), 1);
  EXPECT_TRUE(Shows(*a, content_));
  EXPECT_TRUE(Shows(*b, content_));
}

TEST_F(BackingPoolTest, WritesToOneImageAreNotSeenInAnother) {
  MakeOverlay("a", "golden", "qed");
  MakeOverlay("b", "golden", "qed");
  const auto a = Open("a");
  const auto b = Open("b");
  WriteDisk(*a, 2 * kCluster + 5, "only here");
  EXPECT_TRUE(Shows(*b, content_));
  std::string changed = content_;
  Overwrite(changed, 2 * kCluster + 5, "only here");
  EXPECT_TRUE(Shows(*a, changed));
}

TEST_F(BackingPoolTest, AnOverlayOfTheLowerFileSharesThatPart) {
  MakeOverlay("a", "golden", "qed");
  MakeOverlay("b", "base", "raw");
  const auto a = Open("a");
  const auto b = Open("b");
  EXPECT_TRUE(Shows(*a, content_));
  EXPECT_TRUE(Shows(*b, base_));
}

TEST_F(BackingPoolTest, AFileThatWasReplacedIsOpenedAnew) {
  MakeOverlay("a", "golden", "qed");
  MakeOverlay("b", "golden", "qed");
  const auto a = Open("a");
  std::filesystem::rename(Path("base"), Path("old"));
  const std::string other = PatternText(9, base_.size());
  SetFile("base", other);
  std::string expected = other;
  Overwrite(expected, kCluster, golden_text_);
  EXPECT_TRUE(Shows(*Open("b"), expected));
  EXPECT_TRUE(Shows(*a, content_));
}

TEST_F(BackingPoolTest, AFileThatWasChangedIsOpenedAnew) {
  MakeOverlay("a", "golden", "qed");
  MakeOverlay("b", "golden", "qed");
  const auto a = Open("a");
  std::filesystem::resize_file(Path("base"), base_.size() / 2);
  std::string expected = content_;
  std::fill(expected.begin() + base_.size() / 2, expected.end(), '\0');
  EXPECT_TRUE(Shows(*Open("b"), expected));
}

TEST_F(BackingPoolTest, ACycleThroughASharedPartIsSeen) {
  lock_ = false;  // else that would be what is in the way
  // An image whose image file is a file of the part.
  MakeAddCow("cow");
  std::filesystem::remove(Path("data"));
  std::filesystem::create_hard_link(Path("base"), Path("data"));
  MakeOverlay("a", "golden", "qed");
  const auto a = Open("a");
  EXPECT_TRUE(Shows(*a, content_));
  EXPECT_TRUE(Fails(TryOpen("cow"), ELOOP, "base"));
}

}  // namespace
}  // namespace flatcow
