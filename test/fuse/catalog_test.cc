// SPDX-License-Identifier: Apache-2.0
#include "catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "file_signature.h"
#include "flatcow/confined_file_system.h"
#include "flatcow/status.h"
#include "log.h"
#include "support/temporary_directory.h"

namespace flatcow::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

void AppendLittleEndian(std::string& bytes, uint64_t value, int count) {
  for (int i = 0; i < count; ++i) {
    bytes.push_back(static_cast<char>(value >> (8 * i)));
  }
}

// An empty QED image of 1 MiB: header cluster, then a table of one cluster.
std::string Qed(const std::string& backing = "", bool raw_backing = true) {
  constexpr uint64_t kCluster = 65536;
  std::string bytes("QED\0", 4);
  AppendLittleEndian(bytes, kCluster, 4);
  AppendLittleEndian(bytes, 1, 4);  // table size, clusters
  AppendLittleEndian(bytes, 1, 4);  // header size, clusters
  const uint64_t features = backing.empty() ? 0 : raw_backing ? 1 | 4 : 1;
  AppendLittleEndian(bytes, features, 8);
  AppendLittleEndian(bytes, 0, 8);
  AppendLittleEndian(bytes, 0, 8);
  AppendLittleEndian(bytes, kCluster, 8);
  AppendLittleEndian(bytes, 1 << 20, 8);
  AppendLittleEndian(bytes, backing.empty() ? 0 : 64, 4);
  AppendLittleEndian(bytes, backing.size(), 4);
  bytes += backing;
  bytes.resize(2 * kCluster);
  return bytes;
}

class CatalogTest : public ::testing::Test {
 protected:
  // Until the time stamps of a file in SOURCE are old enough to be believed.
  void WaitUntilSettled(const std::string& name) {
    struct stat stat;
    ASSERT_EQ(::stat((source_ / name).c_str(), &stat), 0);
    FileSignature signature;
    signature.ctime_ns =
        stat.st_ctim.tv_sec * int64_t{1'000'000'000} + stat.st_ctim.tv_nsec;
    while (!IsSettled(signature, NowNs())) sched_yield();
  }

  void Write(const std::string& name, const std::string& bytes) {
    std::filesystem::create_directories(
        std::filesystem::path(source_ / name).parent_path());
    std::ofstream(source_ / name, std::ios::binary) << bytes;
  }

  void Open(const std::string& only_name = "") {
    catalog_.reset();
    auto files = ConfinedFileSystem::Open({source_.path()});
    ASSERT_TRUE(files.ok()) << files.status();
    files_ = *std::move(files);
    catalog_ = std::make_unique<Catalog>(*files_, only_name, log_);
  }

  // The names in a folder, those of folders with a slash behind.
  std::vector<std::string> Names(NodeId folder = kRootNode) {
    std::vector<std::string> names;
    const auto entries = catalog_->List(folder);
    EXPECT_TRUE(entries.ok()) << entries.status();
    if (!entries.ok()) return names;
    for (const DirectoryEntry& entry : *entries) {
      names.push_back(entry.name + (entry.is_directory ? "/" : ""));
    }
    return names;
  }

  NodeInfo Find(const std::string& name, NodeId folder = kRootNode) {
    const auto node = catalog_->Lookup(folder, name);
    EXPECT_TRUE(node.ok()) << name << ": " << node.status();
    return node.value_or(NodeInfo());
  }

  int LookupErrno(const std::string& name, NodeId folder = kRootNode) {
    return ErrnoOf(catalog_->Lookup(folder, name).status());
  }

  TemporaryDirectory source_;
  Log log_;
  std::unique_ptr<ConfinedFileSystem> files_;
  std::unique_ptr<Catalog> catalog_;
};

TEST_F(CatalogTest, ImagesAreFoundByMagicAndNamedAfterTheirFile) {
  Write("vm1.qed", Qed());
  Write("no-suffix", Qed());
  Write("raw.qed", "not an image");
  Write("empty", "");
  Open();
  EXPECT_THAT(Names(), ElementsAre("no-suffix.raw", "vm1.qed.raw"));
  EXPECT_EQ(Find("vm1.qed.raw").virtual_size, 1u << 20);
  EXPECT_EQ(LookupErrno("raw.qed.raw"), ENOENT);
  EXPECT_EQ(LookupErrno("vm1.qed"), ENOENT);
}

TEST_F(CatalogTest, SubFoldersAreShownOnlyWhenTheyHoldImages) {
  Write("web/deep/vm.qed", Qed());
  Write("docs/readme", "text");
  Open();
  EXPECT_THAT(Names(), ElementsAre("web/"));
  const NodeInfo web = Find("web");
  EXPECT_TRUE(web.is_directory);
  EXPECT_THAT(Names(web.id), ElementsAre("deep/"));
  const NodeInfo deep = Find("deep", web.id);
  EXPECT_EQ(Find("vm.qed.raw", deep.id).path, "web/deep/vm.qed");
  EXPECT_EQ(LookupErrno("docs"), ENOENT);
}

TEST_F(CatalogTest, LookupFindsWhatNoListingHasSeen) {
  Open();
  EXPECT_THAT(Names(), IsEmpty());
  Write("late.qed", Qed());
  EXPECT_EQ(Find("late.qed.raw").virtual_size, 1u << 20);
  Write("new/folder/vm.qed", Qed());
  const NodeInfo folder = Find("folder", Find("new").id);
  EXPECT_THAT(Names(folder.id), ElementsAre("vm.qed.raw"));
}

TEST_F(CatalogTest, LookupOfANewNameKnowsWhatElseIsNew) {
  Write("a.qed", Qed());
  Write("sub/b.qed", Qed());
  Open();
  EXPECT_THAT(Names(), ElementsAre("a.qed.raw", "sub/"));
  // The disk of an image, which a guest has made look like an image itself: one
  // name is asked for, but it takes the other to know what that is.
  Write("disk", Qed());
  Write("overlay.qed", Qed("disk"));
  EXPECT_EQ(LookupErrno("disk.raw"), ENOENT);
  EXPECT_NE(Find("overlay.qed.raw").id, 0u);
  EXPECT_NE(Find("a.qed.raw").id, 0u);
  // Gone, replaced and new, in one go.
  std::filesystem::remove(source_ / "overlay.qed");
  std::filesystem::rename(source_ / "a.qed", source_ / "c.qed");
  Write("a.qed", "no image any more");
  EXPECT_NE(Find("c.qed.raw").id, 0u);
  EXPECT_EQ(LookupErrno("a.qed.raw"), ENOENT);
  EXPECT_EQ(LookupErrno("overlay.qed.raw"), ENOENT);
  EXPECT_NE(Find("disk.raw").id, 0u);
  EXPECT_THAT(Names(), ElementsAre("c.qed.raw", "disk.raw", "sub/"));
}

TEST_F(CatalogTest, ListingsFollowTheFolder) {
  Write("web/a.qed", Qed());
  Write("b.qed", Qed());
  Open();
  EXPECT_THAT(Names(), ElementsAre("b.qed.raw", "web/"));
  Write("c.qed", Qed());
  std::filesystem::remove(source_ / "b.qed");
  std::filesystem::remove(source_ / "web/a.qed");
  EXPECT_THAT(Names(), ElementsAre("c.qed.raw"));
  EXPECT_EQ(LookupErrno("b.qed.raw"), ENOENT);
}

TEST_F(CatalogTest, DeepChangesAreSeenFromTheTop) {
  Write("a/b/c/one.qed", Qed());
  Open();
  EXPECT_THAT(Names(), ElementsAre("a/"));
  WaitUntilSettled("a/b/c");
  EXPECT_THAT(Names(), ElementsAre("a/"));
  std::filesystem::remove(source_ / "a/b/c/one.qed");
  EXPECT_THAT(Names(), IsEmpty());
  Write("a/b/d/two.qed", Qed());
  EXPECT_THAT(Names(), ElementsAre("a/"));
}

TEST_F(CatalogTest, ARawFileThatBecomesAnImageAppears) {
  Write("disk", "raw");
  Open();
  WaitUntilSettled("disk");
  EXPECT_THAT(Names(), IsEmpty());
  Write("disk", Qed());
  EXPECT_THAT(Names(), ElementsAre("disk.raw"));
}

TEST_F(CatalogTest, TwoNamesOfOneImageAreOneNode) {
  Write("vm.qed", Qed());
  ASSERT_EQ(link((source_ / "vm.qed").c_str(), (source_ / "hard").c_str()), 0);
  ASSERT_EQ(symlink("vm.qed", (source_ / "soft").c_str()), 0);
  Open();
  EXPECT_THAT(Names(), ElementsAre("hard.raw", "soft.raw", "vm.qed.raw"));
  const NodeInfo node = Find("vm.qed.raw");
  EXPECT_EQ(node.links, 3u);
  EXPECT_EQ(Find("hard.raw").id, node.id);
  EXPECT_EQ(Find("soft.raw").id, node.id);
}

TEST_F(CatalogTest, LinksToFoldersAndSpecialFilesAreIgnored) {
  Write("web/vm.qed", Qed());
  ASSERT_EQ(symlink("web", (source_ / "link").c_str()), 0);
  ASSERT_EQ(symlink("nowhere", (source_ / "dangling").c_str()), 0);
  ASSERT_EQ(symlink("/dev/zero", (source_ / "device").c_str()), 0);
  ASSERT_EQ(mkfifo((source_ / "fifo").c_str(), 0600), 0);
  Open();
  EXPECT_THAT(Names(), ElementsAre("web/"));
  EXPECT_EQ(LookupErrno("link"), ENOENT);
  EXPECT_EQ(LookupErrno("fifo.raw"), ENOENT);
}

TEST_F(CatalogTest, ARawBackingFileIsNoViewWhateverItsBytesSay) {
  Write("base", Qed());
  Write("top.qed", Qed("base"));
  Open();
  EXPECT_THAT(Names(), ElementsAre("top.qed.raw"));
}

TEST_F(CatalogTest, ABackingImageIsAView) {
  Write("base", Qed());
  Write("top.qed", Qed("base", /*raw_backing=*/false));
  Open();
  EXPECT_THAT(Names(), ElementsAre("base.raw", "top.qed.raw"));
}

// A guest may write such a header at the start of its raw disk.
TEST_F(CatalogTest, WhatAHiddenFileNamesIsNotHidden) {
  Write("disk", Qed("victim.qed"));
  Write("top.qed", Qed("disk"));
  Write("victim.qed", Qed());
  Open();
  EXPECT_THAT(Names(), ElementsAre("top.qed.raw", "victim.qed.raw"));
}

TEST_F(CatalogTest, ADamagedImageIsListedAndSaysWhy) {
  Write("bad.qed", std::string("QED\0garbage", 11));
  Open();
  EXPECT_THAT(Names(), ElementsAre("bad.qed.raw"));
  const NodeInfo node = Find("bad.qed.raw");
  EXPECT_EQ(node.error, EINVAL);
  EXPECT_EQ(node.virtual_size, 0u);
}

TEST_F(CatalogTest, NamesThatAreTooLongAreNotShown) {
  Write(std::string(251, 'a'), Qed());
  Write(std::string(252, 'b'), Qed());
  Open();
  EXPECT_THAT(Names(), ElementsAre(std::string(251, 'a') + ".raw"));
}

TEST_F(CatalogTest, AViewWinsAgainstAFolderOfItsName) {
  Write("vm.raw/other.qed", Qed());
  Write("vm", Qed());
  Open();
  EXPECT_THAT(Names(), ElementsAre("vm.raw"));
  EXPECT_FALSE(Find("vm.raw").is_directory);
}

TEST_F(CatalogTest, NodesKeepTheirNumbers) {
  Write("vm.qed", Qed());
  Open();
  const NodeInfo before = Find("vm.qed.raw");
  Write("other.qed", Qed());
  EXPECT_THAT(Names(), ElementsAre("other.qed.raw", "vm.qed.raw"));
  const NodeInfo after = Find("vm.qed.raw");
  EXPECT_EQ(after.id, before.id);
  EXPECT_EQ(after.inode, before.inode);
}

TEST_F(CatalogTest, ANodeLivesUntilItIsForgotten) {
  Write("vm.qed", Qed());
  Open();
  const NodeInfo node = Find("vm.qed.raw");
  std::filesystem::remove(source_ / "vm.qed");
  EXPECT_THAT(Names(), IsEmpty());
  const auto gone = catalog_->Get(node.id);
  ASSERT_TRUE(gone.ok()) << gone.status();
  EXPECT_EQ(gone->links, 0u);
  EXPECT_EQ(gone->virtual_size, 1u << 20);
  catalog_->Forget(node.id, 1);
  EXPECT_EQ(ErrnoOf(catalog_->Get(node.id).status()), ESTALE);
}

TEST_F(CatalogTest, AReplacedImageIsAnotherNode) {
  Write("vm.qed", Qed());
  Open();
  const NodeInfo before = Find("vm.qed.raw");
  Write("other", Qed());
  std::filesystem::rename(source_ / "other", source_ / "vm.qed");
  const NodeInfo after = Find("vm.qed.raw");
  EXPECT_NE(after.id, before.id);
}

TEST_F(CatalogTest, ASingleFileIsAllThereIs) {
  Write("vm.qed", Qed());
  Write("other.qed", Qed());
  Write("web/deep.qed", Qed());
  Open("vm.qed");
  EXPECT_THAT(Names(), ElementsAre("vm.qed.raw"));
  EXPECT_EQ(LookupErrno("other.qed.raw"), ENOENT);
  EXPECT_EQ(LookupErrno("web"), ENOENT);
}

TEST_F(CatalogTest, BlocksOfTheBackingChainAreCounted) {
  Write("base", std::string(1 << 20, 'x'));
  Write("top.qed", Qed("base"));
  Write("lone.qed", Qed());
  Open();
  EXPECT_GE(Find("top.qed.raw").allocated_bytes,
            Find("lone.qed.raw").allocated_bytes + (1 << 20));
}

}  // namespace
}  // namespace flatcow::daemon
