// SPDX-License-Identifier: Apache-2.0
//
// The table of flatcow-formats(5): each cell is tried, those that say no, too.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "flatcow/image.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool_fixture.h"

namespace flatcow::tool {
namespace {

using testing::ElementsAre;

constexpr uint64_t kSize = 1 << 20;
constexpr uint64_t kCluster = 65536;

// Row and column to cell.
using Table = std::map<std::string, std::map<std::string, std::string>>;

Table ReadTable(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  std::vector<std::string> columns;
  Table table;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, ".Sh ")) inside = line == ".Sh SUPPORT";
    if (!inside || !absl::StartsWith(line, ".It ")) continue;
    const std::vector<std::string> cells =
        absl::StrSplit(line.substr(4), " Ta ");
    if (columns.empty()) {
      columns = cells;
      continue;
    }
    EXPECT_EQ(cells.size(), columns.size()) << line;
    for (size_t i = 1; i < cells.size() && i < columns.size(); ++i) {
      table[cells[0]][columns[i].substr(columns[i].rfind(' ') + 1)] = cells[i];
    }
  }
  return table;
}

void Append(std::string& bytes, uint64_t value, int count) {
  for (int i = 0; i < count; ++i) {
    bytes.push_back(static_cast<char>(value >> (8 * i)));
  }
}

// Makes images of each kind, all named "a", with a disk of 1 MiB; those that
// the tool does not make come from QEMU or are put together here.
class FormatTableTest : public QemuTest {
 protected:
  using Attempt = bool (*)(const std::string& kind);

  static bool Works(const std::string& line) {
    return Tool(Words(line)).code == 0;
  }

  // In a folder without another.
  static void Make(const std::string& kind) {
    for (const char* name : {"a", "data", "out"}) {
      std::filesystem::remove(name);
    }
    if (kind == "raw") {
      std::filesystem::copy_file("disk", "a");
    } else if (kind == "qcow2, others") {
      Qemu("convert -c -O qcow2 disk a");
    } else if (kind == "qcow2 with a data file") {
      Qemu("create -q -f qcow2 -o data_file=data -b disk -F raw a");
    } else if (kind == "qed") {
      Qemu("create -q -f qed -b disk -F raw a");
    } else if (kind == "add-cow") {
      Done("create -q -f add-cow -o image_file=data -b disk -F raw a");
    } else {
      MakeDraft(kind == "add-cow of July 2012");
    }
  }

  // All its clusters are in the image file.
  static void MakeDraft(bool july) {
    std::filesystem::copy_file("disk", "data");
    std::string bytes = "ADD_COW\xff";
    Append(bytes, 1, 4);             // version
    Append(bytes, 0, 8);             // no backing file
    Append(bytes, 100, 4);           // where the name of the image file is
    Append(bytes, 4, 4);             // how long it is
    Append(bytes, july ? 2 : 0, 8);  // features
    if (july) {
      Append(bytes, 0, 8);
      Append(bytes, 1, 4);  // pages of the header
      bytes.resize(64);
      bytes += "raw";
    }
    bytes.resize(100);
    bytes += "data";
    bytes.resize(4096);
    Append(bytes, 0xffff, 2);
    bytes.resize(4096 + kCluster);
    std::ofstream("a", std::ios::binary) << bytes;
  }

  static bool Opens(const std::string& kind) {
    Make(kind);
    return Works("info a");
  }

  static bool Reads(const std::string& kind) {
    Make(kind);
    const RunResult compared = Tool(Words("compare -F raw a disk"));
    return compared.code == 0;
  }

  static bool Writes(const std::string& kind) {
    Make(kind);
    const auto opened =
        OpenImage(PosixFileSystem(), "a", {.access = Access::kReadWrite});
    if (!opened.ok()) return false;
    const std::vector<uint8_t> data(1000, 'w');
    if (!(*opened)->Write(200000, data).ok() || !(*opened)->Flush().ok()) {
      return false;
    }
    std::string wanted(kSize, '\0');
    wanted.replace(0, kSize / 2, kSize / 2, 'B');
    wanted.replace(200000, data.size(), data.size(), 'w');
    return DiskOf(**opened) == wanted;
  }

  static std::string DiskOf(Image& image) {
    std::vector<uint8_t> data(image.Size());
    const auto length = image.Read(0, absl::MakeSpan(data));
    if (!length.ok()) return "";
    return std::string(data.begin(), data.end());
  }

  static bool Creates(const std::string& kind) {
    std::filesystem::remove("a");
    std::filesystem::remove("data");
    const std::map<std::string, std::string> kWords = {
        {"raw", "raw"},
        {"add-cow", "add-cow -o image_file=data"},
        {"qed", "qed"},
        {"qcow2 with a data file", "qcow2 -o data_file=data"},
        {"qcow2, others", "qcow2"}};
    const auto words = kWords.find(kind);
    if (words == kWords.end()) return false;  // there is no way to ask for it
    return Works(absl::StrCat("create -q -f ", words->second, " a 1M")) &&
           Works("info a");
  }

  static bool Checks(const std::string& kind) {
    Make(kind);
    const int code = Tool(Words("check a")).code;
    if (code != 0) {
      EXPECT_EQ(code, Works("info a") ? 63 : 1) << kind;
    }
    return code == 0;
  }

  // Damages the image so that a check finds it.
  static void Damage(const std::string& kind) {
    if (kind == "qed") {
      Poke("a", kCluster + 8, uint64_t{1} << 50);  // an L1 entry
    } else if (absl::StartsWith(kind, "qcow2")) {
      // What uses the clusters at the beginning has no references.
      Poke("a", 2 * kCluster, 0);
    } else if (absl::StartsWith(kind, "add-cow")) {
      // Clusters behind the end of the disk are marked.
      const uint64_t bitmap = kind == "add-cow" ? kCluster : 4096;
      Poke("a", bitmap, 0xffffff);
    }
  }

  static bool Repairs(const std::string& kind) {
    Make(kind);
    if (kind == "add-cow") Fill("a", 0, kSize / 2, 'B');
    Damage(kind);
    const RunResult before = Tool(Words("check a"));
    if (before.code == 0 && before.err.empty()) return false;
    const RunResult repaired = Tool(Words("check -r all a"));
    const RunResult after = Tool(Words("check a"));
    return repaired.code == 0 && after.code == 0 && after.err.empty();
  }

  static bool Resizes(const std::string& kind) {
    Make(kind);
    const char* format = kind == "raw" ? "-f raw " : "";
    return Works(absl::StrCat("resize ", format, "a 2M")) &&
           Done("info --output=json a").Json()["virtual-size"] == 2 * kSize &&
           Works("compare -F raw a disk");
  }
};

TEST_F(FormatTableTest, EveryCellIsTrue) {
  const char* folder = std::getenv("FLATCOW_MAN_DIR");
  if (folder == nullptr) GTEST_SKIP() << "FLATCOW_MAN_DIR is not set";
  const Table table = ReadTable(absl::StrCat(folder, "/flatcow-formats.5"));
  std::vector<std::string> kinds;
  for (const auto& [kind, cells] : table) kinds.push_back(kind);
  ASSERT_THAT(
      kinds,
      ElementsAre("add-cow", "add-cow of July 2012", "add-cow of June 2012",
                  "qcow2 with a data file", "qcow2, others", "qed", "raw"));
  const std::map<std::string, Attempt> kAttempts = {
      {"open", Opens},     {"read", Reads},   {"write", Writes},
      {"create", Creates}, {"check", Checks}, {"repair", Repairs},
      {"resize", Resizes}};
  MakeRaw("disk", kSize, kSize / 2);
  for (const auto& [kind, cells] : table) {
    EXPECT_EQ(cells.size(), kAttempts.size()) << kind;
    for (const auto& [column, attempt] : kAttempts) {
      const auto cell = cells.find(column);
      ASSERT_NE(cell, cells.end()) << kind << ": " << column;
      EXPECT_EQ(cell->second, attempt(kind) ? "yes" : "no")
          << kind << ": " << column;
    }
  }
}

}  // namespace
}  // namespace flatcow::tool
