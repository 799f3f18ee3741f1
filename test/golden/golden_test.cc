// SPDX-License-Identifier: Apache-2.0
//
// add-cow images of another implementation: read, written, and made alike.
// cases/README.md says where they come from.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "model/image_testing.h"
#include "nlohmann/json.hpp"
#include "support/temporary_directory.h"

namespace flatcow {
namespace {

using nlohmann::json;

std::vector<std::string> AllCases() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(FLATCOW_GOLDEN_CASES)) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The output of a command. The test ends when it fails.
std::string Shell(const std::string& command) {
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error(command);
  std::string output;
  char buffer[4096];
  while (const size_t length = fread(buffer, 1, sizeof(buffer), pipe)) {
    output.append(buffer, length);
  }
  if (pclose(pipe) != 0) throw std::runtime_error(command + " failed");
  return output;
}

class GoldenTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string folder =
        absl::StrCat(FLATCOW_GOLDEN_CASES, "/", GetParam());
    std::ifstream(folder + "/expected.json") >> expected_;
    Shell(absl::StrCat("tar -C '", directory_.path(), "' -xJf '", folder,
                       "/files.tar.xz'"));
    path_ = directory_ / expected_["add_cow"].get<std::string>();
  }

  std::unique_ptr<Image> Open(const OpenOptions& options = {}) {
    return Must(OpenImage(PosixFileSystem(), path_, options));
  }

  std::string Sha256(const std::string& content) {
    const std::string result = directory_ / "sha256";
    FILE* const pipe = popen(("sha256sum > '" + result + "'").c_str(), "w");
    if (pipe == nullptr) throw std::runtime_error("sha256sum");
    const size_t written = fwrite(content.data(), 1, content.size(), pipe);
    if (pclose(pipe) != 0 || written != content.size()) {
      throw std::runtime_error("sha256sum failed");
    }
    return ReadFile(PosixFileSystem(), result).substr(0, 64);
  }

  bool IsRaw() const { return expected_["header"]["image_format"] == "raw"; }

  // The virtual size as flatcow sees it: the oracle rounds it down to 512.
  uint64_t Size() const {
    if (!IsRaw()) return expected_["virtual_size"].get<uint64_t>();
    return expected_["files"][ImageFile()]["size"].get<uint64_t>();
  }

  // Where the image file is within the archive.
  std::string ImageFile() const {
    const auto folder =
        std::filesystem::path(expected_["add_cow"].get<std::string>())
            .parent_path();
    return (folder / expected_["header"]["image_file"].get<std::string>())
        .lexically_normal();
  }

  std::map<std::string, std::string> FileHashes() {
    std::map<std::string, std::string> hashes;
    for (const auto& [name, file] : expected_["files"].items()) {
      hashes[name] =
          Shell("sha256sum < '" + (directory_ / name) + "'").substr(0, 64);
    }
    return hashes;
  }

  bool AllAllocated() const { return expected_["all_allocated"].get<bool>(); }

  // Clusters with their bit set; all of them when the bitmap is not used.
  std::vector<bool> ExpectedBits() const {
    std::vector<bool> bits(expected_["clusters"].get<size_t>(), AllAllocated());
    for (const auto& run : expected_["bitmap"]["allocated_runs"]) {
      std::fill_n(bits.begin() + run[0].get<ptrdiff_t>(), run[1].get<size_t>(),
                  true);
    }
    return bits;
  }

  std::vector<bool> MappedBits(Image& image) {
    const uint64_t cluster_size = image.Info().cluster_size;
    std::vector<bool> bits;
    for (uint64_t at = 0; at < image.Size(); at += cluster_size) {
      const auto segments = Must(image.Map({at, 1}));
      bits.push_back(segments[0].allocated && segments[0].depth == 0);
    }
    return bits;
  }

  // The bytes of the bitmap on disk.
  std::string Bitmap() {
    const std::string file = ReadFile(PosixFileSystem(), path_);
    return file.substr(expected_["bitmap"]["offset"].get<size_t>());
  }

  TemporaryDirectory directory_;
  std::string path_;
  json expected_;
};

TEST_P(GoldenTest, HeaderSaysTheSame) {
  auto file = Must(PosixFileSystem().Open(path_, Access::kReadOnly));
  const auto info = InspectImage(PosixFileSystem(), *file);
  Must(info.status());
  const json& header = expected_["header"];
  EXPECT_EQ(info->format, "add-cow");
  EXPECT_EQ(info->virtual_size, Size());
  EXPECT_EQ(info->cluster_size, expected_["cluster_size"]);
  EXPECT_EQ(info->all_allocated, AllAllocated());
  ASSERT_TRUE(info->data_file.has_value());
  EXPECT_EQ(info->data_file->name, header["image_file"].get<std::string>());
  EXPECT_EQ(info->data_file->format, header["image_format"].get<std::string>());
  ASSERT_EQ(info->backing.has_value(), header["backing_file_name_offset"] != 0);
  if (info->backing.has_value()) {
    EXPECT_EQ(info->backing->name, header["backing_file"].get<std::string>());
    EXPECT_EQ(info->backing->format,
              header["backing_format"].get<std::string>());
  }
}

TEST_P(GoldenTest, CheckSeesTheSameClusters) {
  const auto check = CheckImage(PosixFileSystem(), path_, {});
  Must(check.status());
  const std::vector<bool> bits = ExpectedBits();
  EXPECT_EQ(check->total_clusters, bits.size());
  EXPECT_EQ(check->allocated_clusters,
            static_cast<uint64_t>(std::count(bits.begin(), bits.end(), true)));
  EXPECT_EQ(check->corruptions + check->leaks + check->check_errors, 0u);
}

TEST_P(GoldenTest, GuestSeesTheSameAndNoFileChanges) {
  {
    const auto image = Open();
    EXPECT_EQ(image->Size(), Size());
    const auto length = expected_["virtual_size"].get<uint64_t>();
    EXPECT_EQ(Sha256(ReadDisk(*image, {0, length})),
              expected_["spec_reader_sha256"].get<std::string>());
    EXPECT_EQ(MappedBits(*image), ExpectedBits());
    Must(image->Flush());
  }
  for (const auto& [name, hash] : FileHashes()) {
    EXPECT_EQ(hash, expected_["files"][name]["sha256"].get<std::string>())
        << name;
  }
}

TEST_P(GoldenTest, WritesKeepTheRulesOnDisk) {
  std::string header =
      ReadFile(PosixFileSystem(), path_)
          .substr(0, expected_["header"]["header_size"].get<size_t>());
  const std::string bitmap_before = Bitmap();
  const auto hashes_before = FileHashes();
  const std::string added = PatternText(1, 700);
  std::vector<bool> bits = ExpectedBits();
  std::string content;
  {
    const auto image = Open(Writable());
    content = ReadDisk(*image);
    const uint64_t cluster = image->Info().cluster_size;
    // Across a border, within one cluster, and up to the end of the disk.
    for (const uint64_t offset :
         {cluster - 300, (bits.size() / 2) * cluster + 100,
          image->Size() - added.size()}) {
      WriteDisk(*image, offset, added);
      Overwrite(content, offset, added);
      bits[offset / cluster] = true;
      bits[(offset + added.size() - 1) / cluster] = true;
    }
    Must(image->Flush());
  }
  {
    const auto image = Open();
    EXPECT_TRUE(Shows(*image, content));
    EXPECT_EQ(MappedBits(*image), bits);
  }
  // Only the bitmap and the image file change; both keep their lengths, but for
  // a bitmap that was cut. When all is allocated the header says so.
  constexpr size_t kCompatibleFeatures = 32;
  if (std::find(bits.begin(), bits.end(), false) == bits.end()) {
    header[kCompatibleFeatures] |= 1;
  }
  const std::string file = ReadFile(PosixFileSystem(), path_);
  EXPECT_TRUE(file.starts_with(header));
  for (const auto& [name, hash] : FileHashes()) {
    if (name == expected_["add_cow"].get<std::string>() || name == ImageFile())
      continue;
    EXPECT_EQ(hash, hashes_before.at(name)) << name;
  }
  if (IsRaw()) {
    EXPECT_EQ(std::filesystem::file_size(directory_ / ImageFile()), Size());
  }
  const std::string bitmap = Bitmap();
  if (AllAllocated()) {
    EXPECT_EQ(bitmap, bitmap_before);
    return;
  }
  const uint64_t cluster = expected_["cluster_size"].get<uint64_t>();
  const uint64_t whole =
      ((bits.size() + 7) / 8 + cluster - 1) / cluster * cluster;
  EXPECT_EQ(bitmap.size(), std::max<uint64_t>(whole, bitmap_before.size()));
  for (size_t bit = 0; bit < bitmap.size() * 8; ++bit) {
    const bool set = ((static_cast<uint8_t>(bitmap[bit / 8]) >> bit % 8) & 1);
    ASSERT_EQ(set, bit < bits.size() && bits[bit]) << "bit " << bit;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenTest, testing::ValuesIn(AllCases()),
                         [](const auto& golden_case) {
                           std::string name = golden_case.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// ---- What flatcow makes ----

// The rows of a hexdump, 16 bytes each.
std::string FromHex(const std::vector<std::string>& rows) {
  std::string bytes;
  for (const std::string& row : rows) {
    std::string digits = row;
    digits.erase(std::remove(digits.begin(), digits.end(), ' '), digits.end());
    for (size_t i = 0; i < digits.size(); i += 2) {
      bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
    }
  }
  return bytes;
}

TEST(GoldenCreateTest, HeaderWithABackingFile) {
  TemporaryDirectory directory;
  Make(PosixFileSystem(), directory / "base.raw", {.size = 1 << 20});
  Make(PosixFileSystem(), directory / "t.acow",
       {.format = "add-cow",
        .backing_file = "base.raw",
        .backing_format = "raw",
        .data_file = "img.raw"});
  const std::string file = ReadFile(PosixFileSystem(), directory / "t.acow");
  std::string expected = FromHex({"4143 4f57 4c00 0000 0800 0000 5400 0000",
                                  "0700 0000 1000 0000 0000 0000 0000 0000",
                                  "0000 0000 0000 0000 0000 0100 7261 7700",
                                  "0000 0000 0000 0000 0000 0000 7261 7700",
                                  "0000 0000 0000 0000 0000 0000 6261 7365",
                                  "2e72 6177 696d 672e 7261 7700 0000 0000"});
  expected.resize(131072, '\0');
  EXPECT_TRUE(file == expected) << file.size();
  EXPECT_EQ(std::filesystem::file_size(directory / "img.raw"), 1u << 20);
}

TEST(GoldenCreateTest, HeaderWithoutABackingFile) {
  TemporaryDirectory directory;
  Make(PosixFileSystem(), directory / "t.acow",
       {.format = "add-cow", .size = 1 << 20, .data_file = "img.raw"});
  const std::string file = ReadFile(PosixFileSystem(), directory / "t.acow");
  std::string expected = FromHex({"4143 4f57 0000 0000 0000 0000 4c00 0000",
                                  "0700 0000 1000 0000 0000 0000 0000 0000",
                                  "0100 0000 0000 0000 0000 0100 0000 0000",
                                  "0000 0000 0000 0000 0000 0000 7261 7700",
                                  "0000 0000 0000 0000 0000 0000 696d 672e",
                                  "7261 7700 0000 0000 0000 0000 0000 0000"});
  expected.resize(131072, '\0');
  EXPECT_TRUE(file == expected) << file.size();
}

// HEADER_SIZE is the larger of 4096 and a cluster; the bitmap is whole
// clusters, none at all for an empty disk.
TEST(GoldenCreateTest, LengthsAreThoseOfTheOracle) {
  struct Case {
    uint32_t cluster_size;
    uint64_t size;
    uint64_t file_size;
  };
  constexpr uint64_t kMiB = 1 << 20;
  constexpr Case kCases[] = {
      {65536, 1, 131072},         {65536, uint64_t{32} << 30, 131072},
      {4096, 128 * kMiB, 8192},   {4096, 128 * kMiB + 512, 12288},
      {65536, 0, 65536},          {512, 32768, 4096 + 512},
      {1024, 65536, 4096 + 1024}, {2 * kMiB, 4 * kMiB, 4 * kMiB},
  };
  for (const Case& wanted : kCases) {
    SCOPED_TRACE(absl::StrCat(wanted.cluster_size, " ", wanted.size));
    TemporaryDirectory directory;
    Make(PosixFileSystem(), directory / "base.raw", {.size = wanted.size});
    Make(PosixFileSystem(), directory / "t.acow",
         {.format = "add-cow",
          .size = wanted.size,
          .backing_file = "base.raw",
          .backing_format = "raw",
          .cluster_size = wanted.cluster_size,
          .data_file = "img.raw"});
    EXPECT_EQ(std::filesystem::file_size(directory / "t.acow"),
              wanted.file_size);
    EXPECT_EQ(std::filesystem::file_size(directory / "img.raw"), wanted.size);
  }
}

}  // namespace
}  // namespace flatcow
