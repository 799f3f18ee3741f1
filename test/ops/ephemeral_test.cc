// SPDX-License-Identifier: Apache-2.0
//
// A disk that is written to while its image stays as it is.
#include "flatcow/ephemeral.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/status.h"
#include "model/chain_shape.h"
#include "model/disk_model.h"
#include "model/image_disk.h"
#include "model/image_testing.h"
#include "support/fault_injection_file_system.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

std::unique_ptr<Image> Open(FileSystem& files, const std::string& path,
                            const OpenOptions& options) {
  return Must(OpenEphemeral(files, path, options,
                            [&files] { return files.CreateUnnamed("/tmp"); }));
}

class EphemeralModelTest : public testing::TestWithParam<ChainShape> {};

TEST_P(EphemeralModelTest, AgreesWithAByteArrayAndChangesNoFile) {
  const ChainShape& shape = GetParam();
  // Not that of what is inside.
  const std::string format =
      shape.formats.front().substr(0, shape.formats.front().find('/'));
  for (uint64_t round = 0; round < RoundsFor(10); ++round) {
    MemoryFileSystem files;
    const std::vector<uint8_t> content = MakeChain(files, shape);
    const auto before = AllContents(files);
    {
      auto image =
          Open(files, kChainImage,
               {.format = format,
                .metadata_cache = NewMetadataCache(round % 2 == 0 ? 1 : 65536),
                .backing_pool = NewBackingPool()});
      Must(image->MakeWritable());
      OpenedDisk disk(std::move(image));
      ASSERT_EQ(RunModel(disk, content, SeedFor(round),
                         {.cluster_size = 4096,
                          .size_unit = 1,
                          .max_size = 2 * content.size(),
                          .operations = 300}),
                "");
    }
    EXPECT_TRUE(AllContents(files) == before);
  }
}

std::vector<ChainShape> Shapes() {
  std::vector<ChainShape> shapes;
  const std::vector<std::vector<std::string>> kChains = {
      {"raw"},        {"qed"}, {"add-cow"}, {"qcow2"}, {"qed", "add-cow"},
      {"add-cow/qed"}};
  for (const auto& formats : kChains) {
    const std::string& top = formats.front();
    for (const uint64_t odd : {0u, 512u, 333u}) {
      if (odd % 512 != 0 && top != "raw" && top != "add-cow") continue;
      std::string name = absl::StrCat(top, formats.size(), "_", odd);
      std::replace_if(
          name.begin(), name.end(), [](char c) { return c == '-' || c == '/'; },
          '_');
      shapes.push_back({.name = name,
                        .formats = formats,
                        .cluster_size = 4096,
                        .base_clusters = top == "raw" ? 0u : 9u,
                        .base_odd = 0,
                        .disk_clusters = 24,
                        .disk_odd = odd});
    }
  }
  return shapes;
}

INSTANTIATE_TEST_SUITE_P(Shapes, EphemeralModelTest,
                         testing::ValuesIn(Shapes()),
                         [](const auto& shape) { return shape.param.name; });

class EphemeralTest : public testing::Test {
 protected:
  void SetUp() override { files_.SetContents("/golden", golden_); }

  std::unique_ptr<Image> OpenGolden(OpenOptions options = {}) {
    options.format = "raw";
    return Open(files_, "/golden", options);
  }

  const std::string golden_ = PatternText(7, 100'000);
  MemoryFileSystem files_;
};

TEST_F(EphemeralTest, EachOpenIsADiskOfItsOwn) {
  const auto a = OpenGolden(Writable());
  const auto b = OpenGolden(Writable());
  WriteDisk(*a, 4096, "one");
  WriteDisk(*b, 99'990, "another");
  std::string content_a = golden_;
  Overwrite(content_a, 4096, "one");
  std::string content_b = golden_;
  Overwrite(content_b, 99'990, "another");
  EXPECT_TRUE(Shows(*a, content_a));
  EXPECT_TRUE(Shows(*b, content_b));
  EXPECT_TRUE(Shows(*OpenGolden(), golden_));
  EXPECT_EQ(files_.Contents("/golden"), golden_);
}

TEST_F(EphemeralTest, NothingIsMadeForAReader) {
  int made = 0;
  const auto maker = [&] {
    ++made;
    return files_.CreateUnnamed("/");
  };
  const auto image =
      Must(OpenEphemeral(files_, "/golden", {.format = "raw"}, maker));
  EXPECT_TRUE(Shows(*image, golden_));
  EXPECT_TRUE(Fails(image->Write(0, {}), EROFS));
  EXPECT_EQ(made, 0);
  Must(image->MakeWritable());
  EXPECT_EQ(made, 2);
  EXPECT_TRUE(Shows(*image, golden_));
  EXPECT_EQ(files_.Paths(), std::vector<std::string>{"/golden"});
}

TEST_F(EphemeralTest, WhatCantBeMadeFailsTheFirstWriterAndIsTriedAgain) {
  int calls = 0;
  const auto maker = [&]() -> absl::StatusOr<std::unique_ptr<File>> {
    if (++calls <= 3) return MakeError(EROFS, "nowhere");
    return files_.CreateUnnamed("/");
  };
  const auto image =
      Must(OpenEphemeral(files_, "/golden", {.format = "raw"}, maker));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Fails(image->MakeWritable(), EROFS, "nowhere"));
    EXPECT_FALSE(image->Writable());
    EXPECT_TRUE(Shows(*image, golden_));
  }
  Must(image->MakeWritable());
  WriteDisk(*image, 0, "x");
  EXPECT_EQ(ReadDisk(*image, {0, 1}), "x");
}

TEST_F(EphemeralTest, TheImageIsLockedAgainstWritersOnly) {
  const auto image = OpenGolden(Writable());
  EXPECT_TRUE(Fails(OpenImage(files_, "/golden",
                              {.access = Access::kReadWrite, .format = "raw"}),
                    EBUSY, "/golden"));
  Must(OpenImage(files_, "/golden", {.format = "raw"}));
}

TEST_F(EphemeralTest, AWriterKeepsItFromBeingOpened) {
  const auto writer = Must(OpenImage(
      files_, "/golden", {.access = Access::kReadWrite, .format = "raw"}));
  EXPECT_TRUE(Fails(OpenEphemeral(files_, "/golden", {.format = "raw"},
                                  [this] { return files_.CreateUnnamed("/"); }),
                    EBUSY, "/golden"));
}

// A guest can write a header at the start of its disk.
TEST_F(EphemeralTest, ARawImageIsNotProbed) {
  std::string content = golden_;
  Overwrite(content, 0, absl::string_view("QED\0", 4));
  files_.SetContents("/golden", content);
  EXPECT_TRUE(Shows(*OpenGolden(), content));
}

// An image can't reach what is not a file of the host.
TEST_F(EphemeralTest, TheNamesInsideAreNobodyElses) {
  files_.SetContents("/ephemeral data", golden_);
  Make(files_, "/top",
       {.format = "qed",
        .backing_file = "ephemeral data",
        .backing_format = "raw"});
  const auto image = Open(files_, "/top", {.format = "qed"});
  Must(image->MakeWritable());
  WriteDisk(*image, 0, "mine");
  std::string content = golden_;
  Overwrite(content, 0, "mine");
  content.resize(image->Size(), '\0');
  EXPECT_TRUE(Shows(*image, content));
  EXPECT_EQ(files_.Contents("/ephemeral data"), golden_);
}

TEST_F(EphemeralTest, AFullDiskFailsTheWriteAndNoFlush) {
  FaultInjectionFileSystem faults(files_);
  const auto image =
      Must(OpenEphemeral(faults, "/golden", {.format = "raw"},
                         [&faults] { return faults.CreateUnnamed("/"); }));
  Must(image->MakeWritable());
  WriteDisk(*image, 0, "before");
  faults.Inject({.kinds = kWriteFault, .error = ENOSPC, .forever = true});
  const std::string data(4096, 'x');
  EXPECT_TRUE(Fails(
      image->Write(8192, {reinterpret_cast<const uint8_t*>(data.data()), 4096}),
      ENOSPC));
  Must(image->Flush());
  faults.Clear();
  std::string content = golden_;
  Overwrite(content, 0, "before");
  EXPECT_TRUE(Shows(*image, content));
  WriteDisk(*image, 8192, data);
  Overwrite(content, 8192, data);
  EXPECT_TRUE(Shows(*image, content));
}

}  // namespace
}  // namespace flatcow
