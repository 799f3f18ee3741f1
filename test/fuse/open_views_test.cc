// SPDX-License-Identifier: Apache-2.0
#include "open_views.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "catalog.h"
#include "flatcow/confined_file_system.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "log.h"
#include "support/fault_injection_file_system.h"
#include "support/temporary_directory.h"

namespace flatcow::daemon {
namespace {

class OpenViewsTest : public testing::Test {
 protected:
  void SetUp() override {
    CreateOptions options;
    options.format = "qed";
    options.size = 1 << 20;
    ASSERT_TRUE(CreateImage(PosixFileSystem(), source_ / "disk", options).ok());
    confined_ = *ConfinedFileSystem::Open({source_.path()});
    faults_ = std::make_unique<FaultInjectionFileSystem>(*confined_);
    catalog_ = std::make_unique<Catalog>(*confined_, "", log_);
    views_ =
        std::make_unique<OpenViews>(*faults_, *catalog_, OpenOptions{}, log_);
    node_ = *catalog_->Lookup(kRootNode, "disk.raw");
  }

  OpenViews::User Open() {
    auto opened = views_->Acquire(node_, Access::kReadWrite, Use::kOpen);
    EXPECT_TRUE(opened.ok()) << opened.status();
    return std::move(opened->user);
  }

  static void WriteTo(const OpenViews::User& user, uint64_t offset) {
    const std::vector<uint8_t> data(4096, 'x');
    ASSERT_TRUE(user->image().Write(offset, data).ok());
  }

  TemporaryDirectory source_;
  Log log_;
  std::unique_ptr<ConfinedFileSystem> confined_;
  std::unique_ptr<FaultInjectionFileSystem> faults_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<OpenViews> views_;
  NodeInfo node_;
};

TEST_F(OpenViewsTest, AFailedCloseIsToldToTheFirstFlushOfTheNextOpen) {
  {
    const auto user = Open();
    WriteTo(user, 0);
    faults_->Inject({.kinds = kSyncFault, .forever = true});
  }
  faults_->Clear();
  const auto user = Open();
  EXPECT_EQ(ErrnoOf(user->Flush()), EIO);
  EXPECT_TRUE(user->Flush().ok());
  WriteTo(user, 65536);
  EXPECT_TRUE(user->Flush().ok());
}

TEST_F(OpenViewsTest, AFailureOfTheTimerThatNobodyHeardOfIsKeptPastTheClose) {
  {
    const auto user = Open();
    WriteTo(user, 0);
    faults_->Inject({.kinds = kSyncFault});
    EXPECT_FALSE(user->image().Flush().ok());  // as the timer does
  }
  { const auto nobody_flushes = Open(); }
  const auto user = Open();
  EXPECT_EQ(ErrnoOf(user->Flush()), EIO);
  EXPECT_TRUE(user->Flush().ok());
}

TEST_F(OpenViewsTest, ACleanCloseLeavesNothingToTell) {
  {
    const auto user = Open();
    WriteTo(user, 0);
  }
  const auto user = Open();
  EXPECT_TRUE(user->Flush().ok());
}

}  // namespace
}  // namespace flatcow::daemon
