// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_FORMAT_HOSTILE_IMAGE_H_
#define FLATCOW_TEST_FORMAT_HOSTILE_IMAGE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/raw_images.h"
#include "model/disk_model.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"

namespace flatcow {

inline constexpr uint64_t kHostileBaseSize = 64 << 10;

// One good image beside the hostile ones, in the same cache all the time.
class HostileImageTest : public testing::Test {
 protected:
  HostileImageTest() {
    files_.SetContents("/base", base_);
    files_.SetContents("/img", PatternText(2, kHostileBaseSize));
    files_.SetContents("/good", RawQed().Bytes());
    sibling_ = Must(Open("/good", Access::kReadOnly));
  }

  ~HostileImageTest() override {
    EXPECT_EQ(ReadDisk(*sibling_, {4095, 2}), "AB");
  }

  absl::StatusOr<std::unique_ptr<Image>> Open(const std::string& path,
                                              Access access) {
    OpenOptions options;
    options.access = access;
    options.metadata_cache = cache_;
    return OpenImage(files_, path, options);
  }

  // A failure must say where and what, and give the kernel an errno.
  static void ExpectClear(const absl::Status& status) {
    if (status.ok()) return;
    EXPECT_TRUE(absl::StrContains(status.message(), "/")) << status;
    EXPECT_NE(status.code(), absl::StatusCode::kInternal) << status;
    EXPECT_NE(ErrnoOf(status), 0) << status;
  }

  // Everything a user can do to an image.
  void Exercise(const std::string& path) {
    const auto before = AllContents(files_);
    ReadOnly(path);
    ExpectClear(CheckImage(files_, path, {}).status());
    ExpectClear(ReadImageInfo(files_, path, {}).status());
    ExpectClear(ReadChainInfo(files_, path, {}).status());
    ASSERT_TRUE(AllContents(files_) == before) << "reading changed a file";
    if (const absl::Status refused = ReadWrite(path); !refused.ok()) {
      ASSERT_TRUE(AllContents(files_) == before)
          << "an open that was refused changed a file: " << refused;
    }
    for (const auto& [name, contents] : before) {
      if (name == path || name == "/img" || !files_.Exists(name)) continue;
      ASSERT_TRUE(files_.Contents(name) == contents) << name << " changed";
    }
    CheckOptions repair;
    repair.repair = Repair::kAll;
    ExpectClear(CheckImage(files_, path, repair).status());
  }

  void ReadOnly(const std::string& path) {
    const auto image = Open(path, Access::kReadOnly);
    if (!image.ok()) {
      ExpectClear(image.status());
      return;
    }
    uint8_t buffer[5000];
    const uint64_t size = (*image)->Size();
    for (const uint64_t offset :
         {uint64_t{0}, uint64_t{4096}, uint64_t{8192}, size / 2,
          RawQed::kTableReach, size - std::min<uint64_t>(size, 4096)}) {
      ExpectClear((*image)->Read(offset, absl::MakeSpan(buffer)).status());
    }
    ExpectClear((*image)->Map({0, std::min<uint64_t>(size, 1 << 30)}).status());
    ExpectClear((*image)->Write(0, absl::MakeSpan(buffer, 1)).status());
    ExpectClear((*image)->AllocatedBytes().status());
  }

  // Return values: the error of opening.
  absl::Status ReadWrite(const std::string& path) {
    const auto image = Open(path, Access::kReadWrite);
    if (!image.ok()) {
      ExpectClear(image.status());
      return image.status();
    }
    const std::string data(5000, 'x');
    const auto bytes = absl::MakeConstSpan(
        reinterpret_cast<const uint8_t*>(data.data()), data.size());
    const uint64_t size = (*image)->Size();
    for (const uint64_t offset : {uint64_t{100}, uint64_t{9000}, size / 2 + 1,
                                  size - std::min<uint64_t>(size, 4096)}) {
      ExpectClear((*image)->Write(offset, bytes).status());
    }
    ExpectClear((*image)->WriteZeroes({0, std::min<uint64_t>(size, 20000)}));
    ExpectClear((*image)->Flush());
    return absl::OkStatus();
  }

  const std::string base_ = PatternText(1, kHostileBaseSize);
  MemoryFileSystem files_;
  const std::shared_ptr<MetadataCache> cache_ = NewMetadataCache(64 << 10);
  std::unique_ptr<Image> sibling_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_FORMAT_HOSTILE_IMAGE_H_
