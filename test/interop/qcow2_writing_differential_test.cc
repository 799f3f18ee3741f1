// SPDX-License-Identifier: Apache-2.0
//
// qcow2 images with an external data file that flatcow and QEMU make and write
// in turn: both show what was written, and QEMU's check finds nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "flatcow/image_ops.h"
#include "interop/covering_plan.h"
#include "interop/differential_run.h"
#include "interop/qemu.h"
#include "interop/written_disk.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

FeatureCount& counts = CountedUntilTheEnd("written");

bool MayBeTogether(const Choice& a, const Choice& b) {
  // Only QEMU makes these.
  if (a.Is("maker", "flatcow")) {
    return !b.Is("extended_l2", "on") && !b.Is("bitmap", "yes") &&
           !b.Is("refcounts", "lazy") && !b.Is("refcounts", "aborted");
  }
  // QEMU does not resize a disk with a bitmap that it could not close.
  if (a.Is("refcounts", "aborted")) return !b.Is("bitmap", "yes");
  if (a.Is("raw", "on")) return b.dimension != "backing" || b.value == "none";
  if (a.Is("extended_l2", "on")) {
    return b.dimension != "cluster_size" || std::stoul(b.value) >= 16384;
  }
  return true;
}

CoveringPlan& Plan() {
  static CoveringPlan plan = [] {
    std::vector<std::string> cluster_sizes;
    for (int bits = 9; bits <= 21; ++bits) {
      cluster_sizes.push_back(absl::StrCat(1 << bits));
    }
    return CoveringPlan(
        {
            {"maker", {"qemu", "flatcow"}},
            {"cluster_size", cluster_sizes},
            {"refcount_bits", {"1", "2", "4", "8", "16", "32", "64"}},
            {"raw", {"off", "on"}},
            {"backing",
             {"none", "raw", "raw_shorter", "raw_longer", "qed", "qcow2",
              "qcow2_shorter", "qcow2_longer"}},
            {"size", {"whole", "broken"}},
            {"extended_l2", {"off", "on"}},
            {"bitmap", {"no", "yes"}},
            {"refcounts", {"exact", "lazy", "aborted"}},
            {"first_writer", {"qemu", "flatcow"}},
        },
        MayBeTogether);
  }();
  return plan;
}

class Qcow2WritingDifferentialTest : public DifferentialTest {
 protected:
  const std::string& Trait(const std::string& name) const {
    return traits_.at(name);
  }

  // The image "top" over whatever it is to be over.
  void MakeImage() {
    cluster_size_ = std::stoull(Trait("cluster_size"));
    const uint64_t most = std::min<uint64_t>((1 << 20) / cluster_size_, 300);
    size_ = std::max<uint64_t>(most, 3) * cluster_size_;
    if (Trait("size") == "broken") size_ += 512;
    const std::string backing = Trait("backing");
    backing_format_ = backing.substr(0, backing.find('_'));
    if (backing != "none") MakeBase(backing);
    if (Trait("maker") == "qemu") {
      MakeByQemu();
    } else {
      Make(PosixFileSystem(), "top",
           {.format = "qcow2",
            .size = size_,
            .backing_file = backing == "none" ? "" : "base",
            .backing_format = backing == "none" ? "" : backing_format_,
            .cluster_size = static_cast<uint32_t>(cluster_size_),
            .data_file = "top.data",
            .data_file_raw = Trait("raw") == "on",
            .refcount_bits =
                static_cast<uint32_t>(std::stoul(Trait("refcount_bits")))});
    }
  }

  void MakeBase(const std::string& backing) const {
    uint64_t size = size_;
    if (backing.find("shorter") != std::string::npos) size = size_ / 1024 * 512;
    if (backing.find("longer") != std::string::npos) size += size_ / 1024 * 512;
    if (backing_format_ == "raw") {
      std::ofstream("base", std::ios::binary) << PatternText(GetParam(), size);
      return;
    }
    MustRun({"qemu-img", "create", "-q", "-f", backing_format_, "base",
             absl::StrCat(size)});
    MustRun({"qemu-io", "-f", backing_format_, "-c",
             absl::StrCat("write -P 7 0 ", size / 1024 * 512), "-c",
             absl::StrCat("write -P 8 ", size - 512, " 512"), "base"});
  }

  void MakeByQemu() const {
    std::vector<std::string> options = {
        "data_file=top.data", "cluster_size=" + Trait("cluster_size"),
        "refcount_bits=" + Trait("refcount_bits"),
        "extended_l2=" + Trait("extended_l2"), "data_file_raw=" + Trait("raw")};
    if (Trait("refcounts") != "exact") options.push_back("lazy_refcounts=on");
    std::vector<std::string> command = {"qemu-img",
                                        "create",
                                        "-q",
                                        "-f",
                                        "qcow2",
                                        "-o",
                                        absl::StrJoin(options, ",")};
    if (Trait("backing") != "none") {
      command.insert(command.end(), {"-b", "base", "-F", backing_format_});
    }
    command.insert(command.end(), {"top", absl::StrCat(size_)});
    MustRun(command);
    if (Trait("bitmap") == "yes") {
      MustRun({"qemu-img", "bitmap", "--add", "-f", "qcow2", "top", "bitmap"});
    }
  }

  // With the raw flag the data file by itself is the disk; QEMU now and then
  // makes it whole clusters.
  void ExpectRawDataFile(const WrittenDisk& disk) const {
    if (Trait("raw") == "off") return;
    const std::string data = ReadFile(PosixFileSystem(), "top.data");
    const uint64_t size = disk.content().size();
    EXPECT_TRUE(data.substr(0, size) == disk.content())
        << "top.data is not the disk\n"
        << disk.log();
    EXPECT_LT(data.size(), size + cluster_size_) << disk.log();
  }

  Combination traits_;
  uint64_t cluster_size_ = 0;
  uint64_t size_ = 0;
  std::string backing_format_;
};

TEST_P(Qcow2WritingDifferentialTest, BothTakeTurns) {
  traits_ = Plan().At(GetParam());
  counts.Add(traits_);
  SCOPED_TRACE(Replay() +
               absl::StrJoin(traits_, ", ", absl::PairFormatter(" ")));
  MakeImage();
  WrittenDisk disk("top", cluster_size_, QemuDisk("top"), GetParam());
  disk.set_may_leak(Trait("bitmap") == "yes");
  bool qemu = Trait("first_writer") == "qemu";
  for (int session = 0; session < 4; ++session, qemu = !qemu) {
    if (!qemu) {
      disk.FlatcowSession(25);
    } else if (Trait("refcounts") == "aborted") {
      // Stays dirty: flatcow has to put it right.
      disk.QemuSession(10, WrittenDisk::End::kAbort);
      continue;
    } else {
      disk.QemuSession(10, WrittenDisk::End::kClose);
    }
    disk.ExpectSound();
    ExpectRawDataFile(disk);
    if (HasFailure()) break;
  }
}

INSTANTIATE_TEST_SUITE_P(Images, Qcow2WritingDifferentialTest,
                         testing::ValuesIn(DifferentialSeeds()),
                         testing::PrintToStringParamName());

std::string Print(const Choice& choice) {
  return absl::StrCat(choice.dimension, "=", choice.value);
}

TEST(Qcow2WritingDifferentialPlanTest, ShortFormHasEveryValue) {
  EXPECT_EQ(absl::StrJoin(Plan().MissingValues(60), " ",
                          [](std::string* out, const Choice& choice) {
                            *out += Print(choice);
                          }),
            "");
}

TEST(Qcow2WritingDifferentialPlanTest, LongFormHasEveryPairThatIsLegal) {
  EXPECT_EQ(absl::StrJoin(Plan().MissingPairs(1000), "\n",
                          [](std::string* out, const auto& pair) {
                            absl::StrAppend(out, Print(pair.first), " ",
                                            Print(pair.second));
                          }),
            "");
}

}  // namespace
}  // namespace flatcow
