// SPDX-License-Identifier: Apache-2.0
//
// Every verb on a zoo of images, once by qemu-img and once by flatcow-img: the
// same exit code, the same output where it is the interface, and the same bytes
// for the guest, as qemu-img reads them.
#include <cstdint>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tool/tool_fixture.h"

namespace flatcow::tool {
namespace {

namespace fs = std::filesystem;

// An image and everything below it.
struct Specimen {
  std::string name;    // of the file, and of the test
  std::string format;  // as both programs are told
  // A line each: a name and a size make a raw file, whose data is the third
  // word; "create" and the rest are for qemu-img, "FILE: ..." for qemu-io.
  std::vector<std::string> recipe;
  std::string backing = "";  // "-B NAME -F FMT"; empty: none

  bool qed() const { return format == "qed"; }
  bool overlay() const { return !backing.empty(); }
  bool compressed() const {
    return recipe.size() > 1 && absl::StrContains(recipe[1], "write -c");
  }
  // qcow2 images without a data file are only read.
  bool writable() const {
    return format != "qcow2" || absl::StrContains(recipe.back(), "data");
  }
};

const Specimen kZoo[] = {
    {"empty_raw", "raw", {"empty_raw 0 0"}},
    {"sparse_raw", "raw", {"sparse_raw 4194304 100000"}},
    {"full_raw", "raw", {"full_raw 1048576 1048576"}},
    {"hole_raw", "raw", {"hole_raw 4194304 0"}},
    {"odd_raw", "raw", {"odd_raw 1049088 1049088"}},
    {"fresh_qed", "qed", {"create -f qed fresh_qed 4M"}},
    {"alone_qed",
     "qed",
     {"create -f qed alone_qed 4M", "alone_qed: write -P 1 64k 200k",
      "alone_qed: write -P 2 3M 1k"}},
    {"odd_qed",
     "qed",
     {"create -f qed -o cluster_size=4k,table_size=2 odd_qed 1049088",
      "odd_qed: write -P 1 1M 512", "odd_qed: write -P 2 0 100k"}},
    {"zeroes_qed",
     "qed",
     {"create -f qed zeroes_qed 4M", "zeroes_qed: write -P 1 0 256k",
      "zeroes_qed: write -z 64k 64k", "zeroes_qed: write -z 1M 64k"}},
    {"overlay_qed",
     "qed",
     {"base 4194304 1000000", "create -f qed -b base -F raw overlay_qed",
      "overlay_qed: write -P 1 64k 64k", "overlay_qed: write -P 2 2M 300k"},
     "-B base -F raw"},
    {"hidden_qed",
     "qed",
     {"base 4194304 1000000", "create -f qed -b base -F raw hidden_qed",
      "hidden_qed: write -z 64k 128k", "hidden_qed: write -z 3M 64k"},
     "-B base -F raw"},
    {"chain_qed",
     "qed",
     {"base 4194304 1000000", "create -f qed -b base -F raw middle",
      "middle: write -P 7 512k 128k", "middle: write -z 128k 64k",
      "create -f qed -b middle -F qed chain_qed",
      "chain_qed: write -P 1 576k 128k"},
     "-B middle -F qed"},
    {"longer_qed",
     "qed",
     {"base 1048576 1048576", "create -f qed -b base -F raw middle",
      "create -f qed -b middle -F qed longer_qed 4M",
      "longer_qed: write -P 1 2M 64k"},
     "-B middle -F qed"},
    {"shorter_qed",
     "qed",
     {"base 4194304 4194304", "create -f qed -b base -F raw middle",
      "create -f qed -b middle -F qed shorter_qed 1M",
      "shorter_qed: write -P 1 128k 64k"},
     "-B middle -F qed"},
    {"odd_base_qed",
     "qed",
     {"base 1049088 1049088", "create -f qed -b base -F raw odd_base_qed 2M",
      "odd_base_qed: write -P 1 128k 64k"},
     "-B base -F raw"},
    {"fresh_qcow2", "qcow2", {"create -f qcow2 fresh_qcow2 4M"}},
    {"alone_qcow2",
     "qcow2",
     {"create -f qcow2 alone_qcow2 4M", "alone_qcow2: write -P 1 64k 200k",
      "alone_qcow2: write -z 128k 64k", "alone_qcow2: write -P 2 3M 1k"}},
    {"version2_qcow2",
     "qcow2",
     {"create -f qcow2 -o compat=0.10,cluster_size=4k version2_qcow2 1049088",
      "version2_qcow2: write -P 1 1M 512", "version2_qcow2: write -P 2 0 100k",
      "version2_qcow2: discard 8k 8k"}},
    {"compressed_qcow2",
     "qcow2",
     {"create -f qcow2 compressed_qcow2 4M",
      "compressed_qcow2: write -c -P 1 64k 192k",
      "compressed_qcow2: write -P 2 128k 1k"}},
    {"zstd_qcow2",
     "qcow2",
     {"create -f qcow2 -o compression_type=zstd,refcount_bits=64 zstd_qcow2 4M",
      "zstd_qcow2: write -c -P 1 64k 192k"}},
    {"subclusters_qcow2",
     "qcow2",
     {"create -f qcow2 -o extended_l2=on subclusters_qcow2 4M",
      "subclusters_qcow2: write -P 1 66k 10k",
      "subclusters_qcow2: write -z 80k 2k"}},
    {"overlay_qcow2",
     "qcow2",
     {"base 4194304 1000000", "create -f qcow2 -b base -F raw overlay_qcow2",
      "overlay_qcow2: write -P 1 64k 64k", "overlay_qcow2: write -z 2M 64k"},
     "-B base -F raw"},
    {"fresh_data_qcow2",
     "qcow2",
     {"create -f qcow2 -o data_file=fresh.data fresh_data_qcow2 4M"}},
    {"data_qcow2",
     "qcow2",
     {"create -f qcow2 -o data_file=alone.data data_qcow2 4M",
      "data_qcow2: write -P 1 64k 200k", "data_qcow2: write -z 128k 64k",
      "data_qcow2: write -P 2 3M 1k"}},
    {"raw_data_qcow2",
     "qcow2",
     {"create -f qcow2 -o data_file=raw.data,data_file_raw=on raw_data_qcow2 "
      "4M",
      "raw_data_qcow2: write -P 1 64k 200k"}},
    {"odd_data_qcow2",
     "qcow2",
     {"create -f qcow2 -o data_file=odd.data,cluster_size=4k,refcount_bits=1 "
      "odd_data_qcow2 1049088",
      "odd_data_qcow2: write -P 1 1M 512",
      "odd_data_qcow2: write -P 2 0 100k"}},
    {"overlay_data_qcow2",
     "qcow2",
     {"base 4194304 1000000",
      "create -f qcow2 -o data_file=overlay.data -b base -F raw "
      "overlay_data_qcow2",
      "overlay_data_qcow2: write -P 1 64k 64k",
      "overlay_data_qcow2: write -z 512k 64k"},
     "-B base -F raw"},
};

void PrintTo(const Specimen& specimen, std::ostream* out) {
  *out << specimen.name;
}

class VerbsInteropTest : public QemuTest,
                         public testing::WithParamInterface<Specimen> {
 protected:
  // The specimen twice, in the folders "qemu" and "ours".
  void SetUp() override {
    QemuTest::SetUp();
    if (IsSkipped()) return;
    fs::create_directory("qemu");
    fs::current_path("qemu");
    for (const std::string& line : Zoo().recipe) Cook(line);
    fs::current_path("..");
    // Holes stay holes.
    ASSERT_EQ(RunProgram("cp", {"-r", "qemu", "ours"}).code, 0);
  }

  static const Specimen& Zoo() { return GetParam(); }

  static std::string FormatOf(const std::string& name) {
    if (absl::EndsWith(name, "qcow2")) return "qcow2";
    if (absl::EndsWith(name, "qed") || name == "middle") return "qed";
    return "raw";
  }

  static void Cook(const std::string& line) {
    const std::vector<std::string> words = Words(line);
    if (words[0] == "create") {
      Qemu(absl::StrCat("create -q ", line.substr(words[0].size())));
    } else if (absl::EndsWith(words[0], ":")) {
      const std::string name = words[0].substr(0, words[0].size() - 1);
      QemuIo(FormatOf(name), name, line.substr(words[0].size() + 1));
    } else {
      MakeRaw(words[0], std::stoull(words[1]), std::stoull(words[2]));
    }
  }

  struct Both {
    RunResult qemu;
    RunResult ours;
  };

  // Runs one command line by each program in its folder. Of "$" it takes the
  // specimen's name, of "@" "-f" and its format.
  static Both Run(const std::string& line) {
    std::vector<std::string> words;
    for (const std::string& word : Words(line)) {
      if (word == "$") {
        words.push_back(Zoo().name);
      } else if (word == "@") {
        words.insert(words.end(), {"-f", Zoo().format});
      } else {
        words.push_back(word == "''" ? "" : word);
      }
    }
    Both both;
    fs::current_path("qemu");
    both.qemu = RunProgram("qemu-img", words);
    both.qemu.out = AsQemu7Prints(both.qemu.out);
    fs::current_path("../ours");
    both.ours = Tool(words);
    fs::current_path("..");
    EXPECT_EQ(both.ours.code, both.qemu.code)
        << line << "\nqemu: " << both.qemu.err << "ours: " << both.ours.err;
    return both;
  }

  // The same, and the same is printed.
  static void ExpectSameOutput(const std::string& line) {
    const Both both = Run(line);
    EXPECT_EQ(both.ours.out, both.qemu.out) << line;
  }

  // The same for compare. qemu-img names the sector that differs.
  static void ExpectSameComparison(const std::string& line) {
    const Both both = Run(line);
    const std::string mark = "Content mismatch at offset ";
    std::string ours = both.ours.out;
    const size_t place = ours.find(mark);
    if (place != std::string::npos) {
      const uint64_t offset = std::stoull(ours.substr(place + mark.size()));
      ours =
          absl::StrCat(ours.substr(0, place), mark, offset / 512 * 512, "!\n");
    }
    EXPECT_EQ(ours, both.qemu.out) << line;
  }

  // Both folders have a file of that name that shows the same disk, and it is
  // sound.
  static void ExpectSameDisk(const std::string& name,
                             const std::string& format) {
    const std::string seen =
        format == "qcow2" ? FlatCopies(name) : absl::StrCat(name, " ", format);
    const std::vector<std::string> words = Words(seen);
    const RunResult result =
        RunProgram("qemu-img", {"compare", "-f", words[1], "-F", words[1],
                                "qemu/" + words[0], "ours/" + words[0]});
    EXPECT_EQ(result.out, "Images are identical.\n") << name << result.err;
    if (format == "raw") return;
    fs::current_path("ours");
    const RunResult check =
        RunProgram("qemu-img", {"check", "-f", format, name});
    fs::current_path("..");
    EXPECT_EQ(check.code, 0) << name << check.out << check.err;
  }

  // The same for a data file that is the disk, which QEMU leaves whole clusters
  // long.
  static void ExpectSameDataFile(const std::string& name) {
    const RunResult result = RunProgram(
        "qemu-img",
        {"compare", "-f", "raw", "-F", "raw", "qemu/" + name, "ours/" + name});
    EXPECT_THAT(result.out, testing::EndsWith("Images are identical.\n"))
        << name << result.err;
  }

  // What both images show, in raw files. QEMU takes the name of a data file to
  // be relative to the working directory. Return values: their name and format.
  static std::string FlatCopies(const std::string& name) {
    for (const char* folder : {"qemu", "ours"}) {
      fs::current_path(folder);
      const RunResult copy =
          RunProgram("qemu-img", {"convert", "-f", "qcow2", "-O", "raw", name,
                                  "../" + std::string(folder) + ".flat"});
      EXPECT_EQ(copy.code, 0) << folder << "/" << name << copy.err;
      fs::current_path("..");
      fs::rename(absl::StrCat(folder, ".flat"),
                 absl::StrCat(folder, "/", name, ".flat"));
    }
    return absl::StrCat(name, ".flat raw");
  }

  static void ExpectSameDisks() {
    for (const auto& entry : fs::directory_iterator("qemu")) {
      const std::string name = entry.path().filename().string();
      // Of what is not zero there may be more in a data file than is shown.
      if (absl::EndsWith(name, ".data") || absl::EndsWith(name, ".flat")) {
        continue;
      }
      ExpectSameDisk(name, FormatOf(name));
    }
  }

  // The key of qemu-img's info, which both images have with the same value.
  static void ExpectSameInfo(const std::string& name, const std::string& key) {
    // Some versions open data files for this, and look where they are run.
    const auto info = [&name](const std::string& folder) {
      fs::current_path(folder);
      const RunResult result =
          RunProgram("qemu-img", {"info", "--output=json", name});
      fs::current_path("..");
      return result.Json();
    };
    const nlohmann::json qemu = info("qemu");
    const nlohmann::json ours = info("ours");
    ASSERT_EQ(ours.contains(key), qemu.contains(key)) << name << " " << key;
    if (qemu.contains(key)) {
      EXPECT_EQ(ours[key], qemu[key]) << name << " " << key;
    }
  }
};

class WritingVerbsInteropTest : public VerbsInteropTest {};
class OverlayVerbsInteropTest : public VerbsInteropTest {};
class GrowingVerbsInteropTest : public VerbsInteropTest {};
class ShrinkingVerbsInteropTest : public VerbsInteropTest {};

TEST_P(VerbsInteropTest, Info) {
  const Both both = Run("info @ --output=json $");
  nlohmann::json ours = both.ours.Json();
  nlohmann::json qemu = both.qemu.Json();
  // Both copies hold the same, but their file systems need not.
  ours.erase("actual-size");
  qemu.erase("actual-size");
  EXPECT_EQ(ours, qemu);
}

TEST_P(VerbsInteropTest, Check) {
  if (!Zoo().writable()) {
    // What is not written is not checked.
    fs::current_path("ours");
    EXPECT_EQ(Tool({"check", Zoo().name}).code, 63);
    fs::current_path("..");
    return;
  }
  ExpectSameOutput("check @ $");
  const Both both = Run("check @ --output=json $");
  if (both.qemu.code == 0) {
    EXPECT_EQ(both.ours.Json(), both.qemu.Json());
  }
}

// For qcow2 QEMU also says where the cluster is that would be written next, of
// those that read as zeroes.
nlohmann::json WithoutPlacesOfZeroes(const nlohmann::json& map) {
  nlohmann::json joined = nlohmann::json::array();
  for (nlohmann::json run : map) {
    if (run["data"] == false) run.erase("offset");
    nlohmann::json next = run;
    if (!joined.empty()) {
      next["start"] = joined.back()["start"];
      next["length"] = joined.back()["length"];
    }
    if (joined.empty() || run.contains("offset") || next != joined.back()) {
      joined.push_back(run);
    } else {
      joined.back()["length"] = joined.back()["length"].get<uint64_t>() +
                                run["length"].get<uint64_t>();
    }
  }
  return joined;
}

TEST_P(VerbsInteropTest, Map) {
  ExpectSameOutput("map @ $");
  const Both both = Run("map @ --output=json $");
  if (Zoo().format == "qcow2") {
    EXPECT_EQ(WithoutPlacesOfZeroes(both.ours.Json()),
              WithoutPlacesOfZeroes(both.qemu.Json()));
  } else {
    EXPECT_EQ(both.ours.Json(), both.qemu.Json());
  }
}

TEST_P(VerbsInteropTest, ConvertToRaw) {
  ExpectSameOutput("convert @ -O raw $ out");
  ExpectSameDisk("out", "raw");
  ExpectSameOutput("convert @ $ default");
  ExpectSameDisk("default", "raw");
  EXPECT_EQ(fs::file_size("ours/out"), fs::file_size("qemu/out"));
}

TEST_P(VerbsInteropTest, ConvertToQed) {
  ExpectSameOutput("convert @ -O qed $ out");
  ExpectSameDisk("out", "qed");
  ExpectSameInfo("out", "virtual-size");
  ExpectSameOutput("convert @ -O qed -o cluster_size=4k,table_size=2 $ small");
  ExpectSameDisk("small", "qed");
  ExpectSameInfo("small", "cluster-size");
}

TEST_P(VerbsInteropTest, ConvertToQcow2) {
  ExpectSameOutput("convert @ -O qcow2 -o data_file=out.data $ out");
  ExpectSameDisk("out", "qcow2");
  ExpectSameInfo("out", "virtual-size");
  ExpectSameOutput(
      "convert @ -O qcow2 -o data_file=flat.data,data_file_raw=on,"
      "cluster_size=4k,refcount_bits=1 $ flat");
  ExpectSameDisk("flat", "qcow2");
  ExpectSameDataFile("flat.data");
  ExpectSameInfo("flat", "cluster-size");
  ExpectSameInfo("flat", "format-specific");
}

TEST_P(OverlayVerbsInteropTest, ConvertOntoABackingFile) {
  // Another one than its own only flatcow-img compares with.
  ExpectSameOutput(absl::StrCat("convert @ -O qed ", Zoo().backing, " $ out"));
  ExpectSameDisk("out", "qed");
  ExpectSameInfo("out", "backing-filename");
  ExpectSameInfo("out", "backing-filename-format");
}

TEST_P(VerbsInteropTest, ConvertIntoAnExistingImage) {
  for (const char* folder : {"qemu", "ours"}) {
    MakeRaw(absl::StrCat(folder, "/out"), 4 << 20, 4 << 20);
    Qemu(absl::StrCat("create -q -f qed ", folder, "/out.qed 4M"));
    QemuIo("qed", absl::StrCat(folder, "/out.qed"), "write -P 9 0 4M");
  }
  ExpectSameOutput("convert @ -n -O raw $ out");
  ExpectSameDisk("out", "raw");
  ExpectSameOutput("convert @ -n -O qed $ out.qed");
  ExpectSameDisk("out.qed", "qed");
}

TEST_P(VerbsInteropTest, ConvertIsRefused) {
  for (const char* line :
       {"convert @ $", "convert @ -O foo $ out", "convert -f foo $ out",
        "convert @ -m 0 $ out", "convert @ -S 100 $ out",
        "convert @ -n -O raw $ missing", "convert @ -O qed -o foo=1 $ out",
        "convert @ -O raw -B base -F raw $ out",
        "convert @ -O qed -o cluster_size=3 $ out"}) {
    Run(line);
  }
}

TEST_P(VerbsInteropTest, Compare) {
  Run("convert @ -O raw $ out");
  ExpectSameComparison("compare @ $ out");
  ExpectSameComparison("compare @ -F raw $ out");
  ExpectSameComparison("compare -f raw -F raw out out");
  ExpectSameComparison("compare -q @ $ out");
  ExpectSameComparison("compare @ $ missing");
  for (const char* folder : {"qemu", "ours"}) {
    const std::string out = absl::StrCat(folder, "/out");
    fs::resize_file(out, fs::file_size(out) + (1 << 20));
  }
  ExpectSameComparison("compare @ $ out");
  ExpectSameComparison("compare -s @ $ out");
  for (const char* folder : {"qemu", "ours"}) {
    const std::string out = absl::StrCat(folder, "/out");
    Poke(out, fs::file_size(out) - 4096, 5);
  }
  ExpectSameComparison("compare @ $ out");
  ExpectSameComparison("compare -f raw -F qed out $");
  for (const char* folder : {"qemu", "ours"}) {
    if (fs::file_size(absl::StrCat(folder, "/out")) > 1 << 20) {
      Poke(absl::StrCat(folder, "/out"), 1000, 5);
    }
  }
  ExpectSameComparison("compare @ $ out");
}

// Of two files qemu-img compares details of their mapping too, such as which
// extent is the last one of its file: the verdicts are the same for what
// differs, or is one file.
TEST_P(VerbsInteropTest, CompareStrictly) {
  ExpectSameComparison("compare -s @ $ $");
  Run("convert @ -O qed $ out");
  if (!Zoo().overlay() && !Zoo().compressed()) {
    Run("compare -s @ -F qed $ out");
  }
  if (Zoo().overlay()) Run("compare -s @ -F raw $ base");
}

TEST_P(WritingVerbsInteropTest, Commit) {
  ExpectSameOutput("commit @ $");
  ExpectSameDisks();
}

TEST_P(WritingVerbsInteropTest, CommitAndKeep) {
  ExpectSameOutput("commit -d @ $");
  ExpectSameDisks();
}

TEST_P(OverlayVerbsInteropTest, CommitFurtherDown) {
  ExpectSameOutput("commit -b base @ $");
  ExpectSameDisk("base", "raw");
  ExpectSameDisk(Zoo().name, Zoo().format);
  Run("commit -b missing @ $");
}

TEST_P(WritingVerbsInteropTest, Rebase) {
  for (const char* folder : {"qemu", "ours"}) {
    MakeRaw(absl::StrCat(folder, "/next"), 2 << 20, 1500000);
    Poke(absl::StrCat(folder, "/next"), 70000, 5);
  }
  ExpectSameOutput("rebase @ -b next -F raw $");
  ExpectSameDisks();
  ExpectSameInfo(Zoo().name, "backing-filename");
  ExpectSameInfo(Zoo().name, "backing-filename-format");
  Run("rebase @ -b missing -F raw $");
  ExpectSameInfo(Zoo().name, "backing-filename");
}

TEST_P(WritingVerbsInteropTest, RebaseOntoNothing) {
  ExpectSameOutput("rebase @ -b '' $");
  ExpectSameDisks();
  ExpectSameInfo(Zoo().name, "backing-filename");
}

TEST_P(WritingVerbsInteropTest, RebaseUnsafely) {
  ExpectSameOutput("rebase @ -u -b missing -F raw $");
  ExpectSameInfo(Zoo().name, "backing-filename");
  ExpectSameInfo(Zoo().name, "backing-filename-format");
  ExpectSameOutput("rebase @ -u -b '' $");
  ExpectSameInfo(Zoo().name, "backing-filename");
  ExpectSameDisks();
}

TEST_P(GrowingVerbsInteropTest, Resize) {
  for (const char* size : {"+64k", "5M", "+512", "8M", "+0"}) {
    ExpectSameOutput(absl::StrCat("resize @ $ ", size));
    ExpectSameDisk(Zoo().name, Zoo().format);
    ExpectSameInfo(Zoo().name, "virtual-size");
  }
  for (const char* size : {"1M", "-64k", "x", "+", "-1x"}) {
    Run(absl::StrCat("resize @ $ ", size));
    ExpectSameInfo(Zoo().name, "virtual-size");
  }
}

TEST_P(ShrinkingVerbsInteropTest, Shrink) {
  Run("resize @ $ 4M");
  ExpectSameOutput("resize @ --shrink $ -1M");
  ExpectSameOutput("resize @ --shrink $ 512k");
  ExpectSameDisks();
  Run("resize @ --shrink $ -8M");
  ExpectSameDisks();
}

TEST_P(VerbsInteropTest, Measure) {
  ExpectSameOutput("measure @ -O raw $");
  ExpectSameOutput("measure @ $");
  const Both both = Run("measure @ -O raw --output=json $");
  EXPECT_EQ(both.ours.Json(), both.qemu.Json());
  ExpectSameOutput("measure -O raw --size 1G");
  for (const char* line : {"measure", "measure --size 1M $", "measure --size x",
                           "measure @ -O foo $", "measure @ -O raw missing"}) {
    Run(line);
  }
}

TEST_P(WritingVerbsInteropTest, Amend) {
  // qemu-img amends neither; what both refuse is refused alike.
  for (const char* line :
       {"amend @ $", "amend @ -o foo=1 $", "amend -f raw -o x=1 $",
        "amend @ -o backing_file=x missing"}) {
    Run(line);
  }
  ExpectSameDisks();
}

std::vector<Specimen> Those(bool (*like)(const Specimen&)) {
  std::vector<Specimen> those;
  for (const Specimen& specimen : kZoo) {
    if (like(specimen)) those.push_back(specimen);
  }
  return those;
}

std::string Name(const testing::TestParamInfo<Specimen>& specimen) {
  return specimen.param.name;
}

INSTANTIATE_TEST_SUITE_P(Zoo, VerbsInteropTest, testing::ValuesIn(kZoo), Name);

INSTANTIATE_TEST_SUITE_P(Zoo, WritingVerbsInteropTest,
                         testing::ValuesIn(Those([](const Specimen& s) {
                           return s.writable();
                         })),
                         Name);

INSTANTIATE_TEST_SUITE_P(Zoo, OverlayVerbsInteropTest,
                         testing::ValuesIn(Those([](const Specimen& s) {
                           return s.overlay() && s.writable();
                         })),
                         Name);

// qemu-img can't hide what a longer backing file has behind the old end.
INSTANTIATE_TEST_SUITE_P(Zoo, GrowingVerbsInteropTest,
                         testing::ValuesIn(Those([](const Specimen& s) {
                           return s.name != "shorter_qed" && s.writable();
                         })),
                         Name);

// qemu-img can't shrink QED images.
INSTANTIATE_TEST_SUITE_P(Zoo, ShrinkingVerbsInteropTest,
                         testing::ValuesIn(Those([](const Specimen& s) {
                           return !s.qed() && s.writable();
                         })),
                         Name);

}  // namespace
}  // namespace flatcow::tool
