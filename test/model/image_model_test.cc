// SPDX-License-Identifier: Apache-2.0
//
// Every format, cluster size and shape of chain against a byte array, in
// memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "model/disk_model.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

constexpr char kImage[] = "/disks/top";

struct Shape {
  std::string name;
  // Formats from the image down, without the raw file at the bottom.
  std::vector<std::string> formats;
  uint32_t cluster_size;
  // The raw file's size in clusters, 0 for none, and what is added to it.
  uint64_t base_clusters;
  int base_odd;
  uint64_t disk_clusters;
  int disk_odd;  // a multiple of 512 for QED
};

void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

class ImageDisk final : public TestedDisk {
 public:
  ImageDisk(FileSystem& files, std::shared_ptr<MetadataCache> cache)
      : files_(files), cache_(std::move(cache)) {}

  absl::Status Open() {
    // Every second time by way of a read-only open.
    const bool upgrade = ++opens_ % 2 == 0;
    auto image =
        OpenImage(files_, kImage,
                  {.access = upgrade ? Access::kReadOnly : Access::kReadWrite,
                   .metadata_cache = cache_});
    if (!image.ok()) return image.status();
    image_ = *std::move(image);
    return upgrade ? image_->MakeWritable() : absl::OkStatus();
  }

  absl::Status Read(uint64_t offset, absl::Span<uint8_t> buffer) override {
    return Whole(image_->Read(offset, buffer), buffer.size());
  }
  absl::Status Write(uint64_t offset, absl::Span<const uint8_t> data) override {
    return Whole(image_->Write(offset, data), data.size());
  }
  absl::Status Zero(Extent extent) override {
    return image_->WriteZeroes(extent);
  }
  absl::Status Allocate(Extent extent) override {
    return image_->Allocate(extent);
  }
  absl::Status Grow(uint64_t new_size) override {
    return image_->Resize(new_size);
  }
  absl::Status Flush() override { return image_->Flush(); }
  absl::Status Reopen() override {
    image_.reset();
    return Open();
  }
  uint64_t Size() override { return image_->Size(); }
  void Close() { image_.reset(); }

 private:
  static absl::Status Whole(const absl::StatusOr<size_t>& done, size_t asked) {
    if (!done.ok()) return done.status();
    if (*done == asked) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("only ", *done, " bytes"));
  }

  FileSystem& files_;
  const std::shared_ptr<MetadataCache> cache_;
  std::unique_ptr<Image> image_;
  int opens_ = 0;
};

class ImageModelTest : public testing::TestWithParam<Shape> {};

// Makes the chain. Return values: what the top image shows.
std::vector<uint8_t> MakeChain(MemoryFileSystem& files, const Shape& shape) {
  const uint64_t disk_size = shape.disk_clusters * shape.cluster_size +
                             static_cast<uint64_t>(shape.disk_odd);
  std::vector<uint8_t> content(disk_size, 0);
  std::string below;
  std::string below_format;
  if (shape.base_clusters != 0) {
    const std::vector<uint8_t> base =
        Pattern(0xba5e, shape.base_clusters * shape.cluster_size +
                            static_cast<uint64_t>(shape.base_odd));
    files.SetContents("/disks/base.raw", std::string(base.begin(), base.end()));
    std::copy_n(base.begin(), std::min(base.size(), content.size()),
                content.begin());
    below = "base.raw";
    below_format = "raw";
  }
  for (size_t level = shape.formats.size(); level-- > 0;) {
    const std::string path =
        level == 0 ? std::string(kImage) : absl::StrCat("/disks/level", level);
    CreateOptions options;
    options.format = shape.formats[level];
    options.size = disk_size;
    options.backing_file = below;
    options.backing_format = below_format;
    if (options.format != "raw") options.cluster_size = shape.cluster_size;
    if (options.format == "add-cow") {
      // What unallocated clusters hold must never show.
      options.image_file = absl::StrCat("image", level);
      const std::vector<uint8_t> garbage = Pattern(0xbad, disk_size);
      files.SetContents(absl::StrCat("/disks/image", level),
                        below.empty()
                            ? std::string(disk_size, '\0')
                            : std::string(garbage.begin(), garbage.end()));
    }
    const auto created = CreateImage(files, path, options);
    EXPECT_TRUE(created.ok()) << created.status();
    if (level != 0) {
      auto image = OpenImage(files, path, {.access = Access::kReadWrite});
      EXPECT_TRUE(image.ok()) << image.status();
      const std::vector<uint8_t> data = Pattern(level, shape.cluster_size);
      for (uint64_t at = level * 1000; at + data.size() < disk_size;
           at += 3 * shape.cluster_size) {
        EXPECT_TRUE((*image)->Write(at, data).ok());
        std::copy(data.begin(), data.end(),
                  content.begin() + static_cast<ptrdiff_t>(at));
      }
      EXPECT_TRUE((*image)->Flush().ok());
    }
    below = path.substr(path.rfind('/') + 1);
    below_format = options.format;
  }
  return content;
}

TEST_P(ImageModelTest, AgreesWithAByteArray) {
  const Shape& shape = GetParam();
  for (uint64_t round = 0; round < RoundsFor(20); ++round) {
    MemoryFileSystem files;
    const std::vector<uint8_t> content = MakeChain(files, shape);
    std::vector<std::pair<std::string, std::string>> below;
    for (const std::string& path : files.Paths()) {
      if (path == kImage || path == "/disks/image0") continue;
      below.emplace_back(path, files.Contents(path));
    }
    // Small enough that pages are evicted all the time.
    ImageDisk disk(files, NewMetadataCache(round % 2 == 0 ? 1 : 256 << 10));
    ASSERT_TRUE(disk.Open().ok());
    const uint64_t size_unit = shape.formats.front() == "qed" ? 512 : 1;
    ASSERT_EQ(RunModel(disk, content, SeedFor(round),
                       {.cluster_size = shape.cluster_size,
                        .size_unit = size_unit,
                        .max_size = 2 * content.size(),
                        .operations = 300}),
              "");
    disk.Close();
    for (const auto& [path, contents] : below) {
      ASSERT_TRUE(files.Contents(path) == contents) << path << " has changed";
    }
    if (shape.formats.front() == "raw") continue;
    const auto check = CheckImage(files, kImage, {});
    ASSERT_TRUE(check.ok()) << check.status();
    EXPECT_EQ(check->corruptions, 0u);
    EXPECT_EQ(check->leaks, 0u);
    EXPECT_EQ(check->check_errors, 0u);
  }
}

std::vector<Shape> AllShapes() {
  std::vector<Shape> shapes;
  struct Base {
    const char* name;
    uint64_t clusters;
    int odd;
  };
  constexpr Base kBases[] = {{"none", 0, 0},    {"same", 24, 0},
                             {"shorter", 9, 0}, {"shorter_odd", 9, 333},
                             {"longer", 60, 0}, {"longer_odd", 60, 77}};
  const std::vector<std::vector<std::string>> kChains = {
      {"qed"},
      {"add-cow"},
      {"qed", "qed"},
      {"add-cow", "qed"},
      {"qed", "add-cow"},
      {"add-cow", "add-cow"},
      {"qed", "add-cow", "qed", "qed"}};
  for (const auto& formats : kChains) {
    const bool has_qed =
        std::find(formats.begin(), formats.end(), "qed") != formats.end();
    for (const uint32_t cluster_size : {512u, 4096u, 65536u}) {
      if (has_qed && cluster_size < 4096) continue;
      if (formats.size() > 1 && cluster_size > 4096) continue;
      for (const Base& base : kBases) {
        for (const int odd : {0, 512, 333}) {
          if (has_qed && odd % 512 != 0) continue;
          std::string name;
          for (const std::string& format : formats) {
            absl::StrAppend(&name, format == "add-cow" ? "addcow" : format,
                            "_");
          }
          absl::StrAppend(&name, cluster_size, "_", base.name, "_", odd);
          shapes.push_back({.name = name,
                            .formats = formats,
                            .cluster_size = cluster_size,
                            .base_clusters = base.clusters,
                            .base_odd = base.odd,
                            .disk_clusters = 24,
                            .disk_odd = odd});
        }
      }
    }
  }
  shapes.push_back({.name = "raw",
                    .formats = {"raw"},
                    .cluster_size = 4096,
                    .base_clusters = 0,
                    .base_odd = 0,
                    .disk_clusters = 24,
                    .disk_odd = 333});
  return shapes;
}

INSTANTIATE_TEST_SUITE_P(AllShapes, ImageModelTest,
                         testing::ValuesIn(AllShapes()),
                         [](const auto& shape) { return shape.param.name; });

}  // namespace
}  // namespace flatcow
