// SPDX-License-Identifier: Apache-2.0
//
// Which opens of a view the kernel serves, and with what: the decisions, with a
// kernel that only writes down what it is asked.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "catalog.h"
#include "file_signature.h"
#include "flatcow/confined_file_system.h"
#include "flatcow/status.h"
#include "log.h"
#include "model/image_testing.h"
#include "mutex.h"
#include "open_views.h"
#include "passthrough.h"
#include "support/temporary_directory.h"

namespace flatcow::daemon {
namespace {

constexpr uint64_t kCluster = 65536;
constexpr uint64_t kSize = 4 * kCluster;

class FakeBackingFiles final : public BackingFiles {
 public:
  absl::StatusOr<BackingId> Open(int descriptor) override {
    MutexLock lock(mutex_);
    ++asked;
    if (refusal != 0) return ErrnoError(refusal, "fake");
    struct stat stat;
    EXPECT_EQ(fstat(descriptor, &stat), 0);
    open[++last] = stat.st_ino;
    return last;
  }
  void Close(BackingId id) override {
    MutexLock lock(mutex_);
    EXPECT_EQ(open.erase(id), 1u) << id;
  }
  bool Has(BackingId id) {
    MutexLock lock(mutex_);
    return open.contains(id);
  }

  int refusal = 0;
  int asked = 0;
  BackingId last = 0;
  std::map<BackingId, ino_t> open;

 private:
  Mutex mutex_;
};

class PassthroughViewsTest : public testing::Test {
 protected:
  void SetUp() override {
    MakeRaw("base", PatternText(1, kSize));
    Make(PosixFileSystem(), source_ / "disk",
         {.format = "add-cow",
          .size = kSize,
          .backing_file = "base",
          .backing_format = "raw",
          .cluster_size = kCluster,
          .data_file = "data"});
  }

  void MakeRaw(const std::string& name, const std::string& content) {
    const auto file = Must(PosixFileSystem().Create(source_ / name));
    const iovec piece{const_cast<char*>(content.data()), content.size()};
    Must(file->Write(0, absl::MakeConstSpan(&piece, 1)));
  }

  static void Fill(Image& image) {
    WriteDisk(image, 0, PatternText(2, kSize));
    Must(image.Flush());
  }
  void MakeFlat() {
    Fill(*Must(OpenImage(PosixFileSystem(), source_ / "disk",
                         {.access = Access::kReadWrite})));
  }

  void Start(bool never_written = false) {
    confined_ = *ConfinedFileSystem::Open({source_.path()});
    catalog_ = std::make_unique<Catalog>(*confined_, "", log_);
    views_ =
        std::make_unique<OpenViews>(*confined_, *catalog_, OpenOptions{}, log_);
    views_->EnablePassthrough(kernel_, never_written);
    node_ = Must(catalog_->Lookup(kRootNode, "disk.raw"));
  }

  OpenViews::Opened Open(Access access = Access::kReadOnly,
                         Use use = Use::kOpen) {
    return Must(views_->Acquire(node_, access, use));
  }

  // Until the time stamps of the image's files are old enough to be believed.
  void WaitUntilSettled() {
    for (const char* name : {"disk", "data"}) {
      const auto stat = Must(PosixFileSystem().Stat(source_ / name));
      while (!IsSettled(SignatureOf(stat), NowNs())) sched_yield();
    }
  }

  ino_t InodeOf(const std::string& name) {
    struct stat info;
    EXPECT_EQ(stat((source_ / name).c_str(), &info), 0);
    return info.st_ino;
  }

  TemporaryDirectory source_;
  Log log_;
  FakeBackingFiles kernel_;
  std::unique_ptr<ConfinedFileSystem> confined_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<OpenViews> views_;
  NodeInfo node_;
};

TEST_F(PassthroughViewsTest, AllOpensOfAFlatViewHaveOneIdUntilTheLastEnds) {
  MakeFlat();
  Start();
  {
    const auto writer = [&] {
      const auto reader = Open();
      EXPECT_EQ(reader.backing, 1);
      EXPECT_EQ(kernel_.open[1], InodeOf("data"));
      return Open(Access::kReadWrite);
    }();
    EXPECT_EQ(writer.backing, 1);
    EXPECT_TRUE(writer.user->image().Writable());
    EXPECT_EQ(kernel_.open.size(), 1u);
  }
  EXPECT_TRUE(kernel_.open.empty());
  EXPECT_EQ(Open().backing, 2);
  EXPECT_EQ(kernel_.asked, 2);
}

TEST_F(PassthroughViewsTest, TheDaemonServesAViewThatIsNotFlat) {
  Start();
  EXPECT_EQ(Open().backing, 0);
  EXPECT_EQ(Open(Access::kReadWrite).backing, 0);
  EXPECT_EQ(kernel_.asked, 0);
}

TEST_F(PassthroughViewsTest, AViewThatTheDaemonServesStaysSoUntilItsLastClose) {
  Start();
  {
    const auto writer = Open(Access::kReadWrite);
    Fill(writer.user->image());
    EXPECT_EQ(Open().backing, 0);
    EXPECT_EQ(Open(Access::kReadWrite).backing, 0);
    EXPECT_EQ(kernel_.asked, 0);
  }
  EXPECT_NE(Open().backing, 0);
}

TEST_F(PassthroughViewsTest, WhatTheDaemonItselfUsesDecidesNothing) {
  MakeFlat();
  Start();
  const auto internal = Open(Access::kReadWrite, Use::kInternal);
  EXPECT_EQ(internal.backing, 0);
  EXPECT_EQ(kernel_.asked, 0);
  for (const BackingId id : {1, 2}) {
    const auto open = Open();
    EXPECT_EQ(open.backing, id);
    EXPECT_EQ(Open(Access::kReadWrite, Use::kInternal).backing, 0);
    EXPECT_EQ(views_->Find(node_.id).get(), open.user.get());
    EXPECT_EQ(kernel_.open.size(), 1u);
  }
  EXPECT_TRUE(kernel_.open.empty());
}

TEST_F(PassthroughViewsTest, ALookUpDoesNotKeepTheModeOfAViewThatIsClosed) {
  Start();
  auto writer = std::make_unique<OpenViews::Opened>(Open(Access::kReadWrite));
  const auto look_up = views_->Find(node_.id);
  Fill(writer->user->image());
  writer.reset();
  EXPECT_EQ(Open().backing, 1);
}

TEST_F(PassthroughViewsTest, WithoutPrivilegeItIsAskedOnce) {
  MakeFlat();
  Start();
  kernel_.refusal = EPERM;
  EXPECT_EQ(Open().backing, 0);
  kernel_.refusal = 0;
  EXPECT_EQ(Open().backing, 0);
  EXPECT_EQ(kernel_.asked, 1);
}

TEST_F(PassthroughViewsTest, AnyOtherRefusalCountsForOneTime) {
  MakeFlat();
  Start();
  kernel_.refusal = ELOOP;
  {
    const auto first = Open();
    EXPECT_EQ(first.backing, 0);
    kernel_.refusal = 0;
    EXPECT_EQ(Open().backing, 0);
    EXPECT_EQ(kernel_.asked, 1);
  }
  EXPECT_EQ(Open().backing, 1);
}

TEST_F(PassthroughViewsTest, AnOverlayThatHoldsNothingIsItsBackingFile) {
  Start(/*never_written=*/true);
  EXPECT_NE(Open().backing, 0);
  EXPECT_EQ(kernel_.asked, 1);
  WriteDisk(*Must(OpenImage(PosixFileSystem(), source_ / "disk",
                            {.access = Access::kReadWrite})),
            kCluster, "x");
  EXPECT_EQ(Open().backing, 0);
  EXPECT_EQ(kernel_.asked, 1);
}

// Opens in all orders: the first and the last change from one to the next.
TEST_F(PassthroughViewsTest, OpensAtTheSameTimeAgree) {
  MakeFlat();
  Start();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int round = 0; round < 200; ++round) {
        if (thread == 0) {
          if (const auto user = views_->Find(node_.id))
            Must(user->AdoptGrowth());
          Open(Access::kReadWrite, Use::kInternal);
          continue;
        }
        const auto one = Open();
        const auto two = Open(Access::kReadWrite);
        EXPECT_EQ(one.backing, two.backing);
        EXPECT_TRUE(kernel_.Has(one.backing));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(kernel_.open.empty());
}

// What the kernel has cached may be older than what was written past it.
TEST_F(PassthroughViewsTest, NothingCachedHoldsAfterAPassthrough) {
  MakeFlat();
  Start();
  WaitUntilSettled();
  kernel_.refusal = ELOOP;
  EXPECT_EQ(Open().backing, 0);
  EXPECT_TRUE(Open().unchanged);
  kernel_.refusal = 0;
  EXPECT_NE(Open().backing, 0);
  kernel_.refusal = ELOOP;
  EXPECT_FALSE(Open().unchanged);
  EXPECT_TRUE(Open().unchanged);
}

TEST_F(PassthroughViewsTest, NorWhereTheDaemonHeldTheViewMeanwhile) {
  MakeFlat();
  Start();
  const auto look_up = Open(Access::kReadOnly, Use::kInternal);
  EXPECT_NE(Open().backing, 0);
  kernel_.refusal = ELOOP;
  const auto served = Open();
  EXPECT_EQ(served.backing, 0);
  EXPECT_FALSE(served.unchanged);
}

TEST_F(PassthroughViewsTest, GrowthBehindTheImageIsAdopted) {
  MakeFlat();
  Start();
  const auto look_up = Open(Access::kReadOnly, Use::kInternal);
  EXPECT_NE(Open().backing, 0);
  ASSERT_EQ(truncate((source_ / "data").c_str(), kSize + 777), 0);
  Must(look_up.user->AdoptGrowth());
  EXPECT_EQ(look_up.user->image().Size(), kSize + 777);
  ASSERT_EQ(truncate((source_ / "data").c_str(), kSize + 999), 0);
  EXPECT_NE(Open().backing, 0);
  EXPECT_EQ(look_up.user->image().Size(), kSize + 999);
}

}  // namespace
}  // namespace flatcow::daemon
