// SPDX-License-Identifier: Apache-2.0
//
// Every format, cluster size and shape of chain against a byte array, in
// memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "model/chain_shape.h"
#include "model/disk_model.h"
#include "model/image_disk.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

class ImageModelTest : public testing::TestWithParam<ChainShape> {};

TEST_P(ImageModelTest, AgreesWithAByteArray) {
  const ChainShape& shape = GetParam();
  for (uint64_t round = 0; round < RoundsFor(20); ++round) {
    MemoryFileSystem files;
    const std::vector<uint8_t> content = MakeChain(files, shape);
    std::vector<std::pair<std::string, std::string>> below;
    for (const std::string& path : files.Paths()) {
      if (IsWritten(path)) continue;
      below.emplace_back(path, files.Contents(path));
    }
    // Small enough that pages are evicted all the time.
    ImageDisk disk(files, kChainImage,
                   NewMetadataCache(round % 2 == 0 ? 1 : 256 << 10));
    ASSERT_TRUE(disk.Open().ok());
    ASSERT_EQ(RunModel(disk, content, SeedFor(round),
                       {.cluster_size = shape.cluster_size,
                        .size_unit = shape.size_unit(),
                        .max_size = 2 * content.size(),
                        .operations = 300}),
              "");
    disk.Close();
    for (const auto& [path, contents] : below) {
      ASSERT_TRUE(files.Contents(path) == contents) << path << " has changed";
    }
    if (shape.formats.front() == "raw") continue;
    const auto check = CheckImage(files, kChainImage, {});
    ASSERT_TRUE(check.ok()) << check.status();
    EXPECT_EQ(check->corruptions, 0u);
    EXPECT_EQ(check->leaks, 0u);
    EXPECT_EQ(check->check_errors, 0u);
  }
}

std::vector<ChainShape> AllShapes() {
  std::vector<ChainShape> shapes;
  struct Base {
    const char* name;
    uint64_t clusters;
    uint64_t odd;
  };
  constexpr Base kBases[] = {{"none", 0, 0},
                             {"same", 24, 0},
                             {"shorter", 9, 0},
                             {"shorter_odd", 9, 333},
                             {"longer", 60, 0},
                             {"longer_odd", 60, 77},
                             {"longer_within_cluster", 24, 1300}};
  const std::vector<std::vector<std::string>> kChains = {
      {"qed"},
      {"add-cow"},
      {"qed", "qed"},
      {"add-cow", "qed"},
      {"qed", "add-cow"},
      {"add-cow", "add-cow"},
      {"qcow2"},
      {kDataFileIsDisk},
      {kWithSubclusters},
      {"qcow2", "qed"},
      {"add-cow", "qcow2"},
      {"qcow2", "qcow2"},
      {"qed", "add-cow", "qed", "qed"},
      {"june2012"},
      {"july2012"},
      {"june2012", "july2012"},
      {"july2012", "qed", "june2012"},
      {"add-cow/qed"},
      {"add-cow/add-cow"},
      {"add-cow/qcow2"},
      {"qed", "add-cow/qed"},
      {"add-cow/qed", "add-cow/add-cow"}};
  for (const auto& formats : kChains) {
    const auto has = [&formats](const char* format) {
      return std::any_of(formats.begin(), formats.end(), [&](const auto& one) {
        return absl::EndsWith(one, format);
      });
    };
    const bool has_qed = has("qed");
    const bool has_subclusters = has(kWithSubclusters);
    const bool has_sectors =
        has_qed || has("qcow2") || has(kDataFileIsDisk) || has_subclusters;
    const bool has_draft = formats.front().ends_with("2012");
    for (const uint32_t cluster_size : {512u, 4096u, 65536u}) {
      if (has_draft && cluster_size != 65536) continue;
      if (has_qed && cluster_size < 4096) continue;
      if (has_subclusters && cluster_size < 16384) continue;
      if (!has_draft && formats.size() > 1 && cluster_size > 4096) continue;
      for (const Base& base : kBases) {
        for (const uint64_t odd : {0u, 512u, 333u}) {
          if (has_sectors && odd % 512 != 0) continue;
          if (has(kDataFileIsDisk) && base.clusters != 0) continue;
          if (has_draft && odd != 512) continue;
          std::string name;
          for (const std::string& format : formats) {
            absl::StrAppend(
                &name, absl::StrReplaceAll(format, {{"-", ""}, {"/", "_in_"}}),
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
