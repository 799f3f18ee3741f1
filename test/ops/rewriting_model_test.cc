// SPDX-License-Identifier: Apache-2.0
//
// Verbs that rewrite an image, in any order, with writes of the guest and
// interruptions between: the disk shows what a byte array holds.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "model/chain_shape.h"
#include "model/disk_model.h"
#include "model/image_testing.h"
#include "model/workload.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

constexpr uint32_t kCluster = 4096;
constexpr char kOtherBase[] = "other.raw";
constexpr char kOutput[] = "/disks/output";

class Session {
 public:
  Session(const ChainShape& shape, uint64_t seed)
      : shape_(shape), random_(seed) {
    const std::vector<uint8_t> content = MakeChain(files_, shape);
    content_.assign(content.begin(), content.end());
    files_.SetContents(absl::StrCat("/disks/", kOtherBase),
                       OtherBase(content_));
  }

  // Return values: empty, or what went wrong.
  std::string Run(int steps) {
    for (int step = 0; step < steps; ++step) {
      const std::string name = Step();
      const auto image = OpenImage(files_, kChainImage, {});
      if (!image.ok()) return absl::StrCat(name, image.status().ToString());
      const auto same = Shows(**image, content_);
      if (!same) return absl::StrCat("after ", name, same.message());
      const auto clean = IsClean(files_, kChainImage);
      if (!clean && !leaks_) return absl::StrCat(name, clean.message());
    }
    return "";
  }

 private:
  // The same disk with some other clusters, and shorter.
  static std::string OtherBase(const std::string& content) {
    std::string other = content.substr(0, content.size() * 3 / 4);
    for (uint64_t at = 0; at + kCluster < other.size(); at += 3 * kCluster) {
      Overwrite(other, at + 100, PatternText(at, 50));
    }
    return other;
  }

  uint64_t Below(uint64_t bound) { return random_() % bound; }

  std::string Step() {
    switch (Below(9)) {
      case 0:
      case 1:
      case 2:
        Write();
        return "write: ";
      case 3:
        return Rewrite("flatten: ", [this](const WorkOptions& work) {
          return FlattenImage(files_, kChainImage, {.work = work}).status();
        });
      case 4: {
        const std::string base = Below(3) == 0 ? "" : kOtherBase;
        return Rewrite("rebase: ", [this, base](const WorkOptions& work) {
          return RebaseImage(files_, kChainImage,
                             {.backing_file = base,
                              .backing_format = base.empty() ? "" : "raw",
                              .work = work})
              .status();
        });
      }
      case 5:
        return Commit();
      case 6:
        return Resize();
      case 7:
        return Convert();
      default:
        return Discard();
    }
  }

  void Write() {
    const auto image = Must(OpenImage(files_, kChainImage, Writable()));
    for (int i = 0; i < 4 && !content_.empty(); ++i) {
      const uint64_t at = Below(content_.size());
      const uint64_t length =
          std::min<uint64_t>(1 + Below(3 * kCluster), content_.size() - at);
      const std::string data = PatternText(random_(), length);
      WriteDisk(*image, at, data);
      Overwrite(content_, at, data);
    }
    Must(image->Flush());
  }

  std::string Discard() {
    const auto image = Must(OpenImage(files_, kChainImage, Writable()));
    const uint64_t at = Below(content_.size() + 1);
    const uint64_t length = Below(content_.size() - at + 1);
    Must(image->WriteZeroes({at, length}));
    Overwrite(content_, at, std::string(length, '\0'));
    return "zero: ";
  }

  // Now and then stops the verb a few times before it may finish.
  template <typename Verb>
  std::string Rewrite(const std::string& name, const Verb& verb) {
    for (uint64_t stops = Below(3); stops > 0; --stops) {
      uint64_t calls = Below(4);
      const absl::Status status =
          verb({.parallel = 1 + static_cast<int>(Below(4)),
                .progress = [&](uint64_t, uint64_t) { return calls-- > 0; }});
      if (!status.ok() && ErrnoOf(status) != EINTR) Must(status);
      EXPECT_TRUE(Shows(*Must(OpenImage(files_, kChainImage, {})), content_))
          << "after a stopped " << name;
      if (status.ok()) return name;
    }
    Must(verb({.parallel = 1 + static_cast<int>(Below(4))}));
    return name;
  }

  std::string Commit() {
    const ImageInfo info = Must(ReadImageInfo(files_, kChainImage, {}));
    if (!info.backing.has_value()) return "no commit: ";
    const bool keep = Below(2) == 0;
    return Rewrite("commit: ", [this, keep](const WorkOptions& work) {
      return CommitImage(files_, kChainImage, {.keep = keep, .work = work})
          .status();
    });
  }

  std::string Resize() {
    const uint64_t unit = shape_.size_unit();
    const uint64_t size =
        (content_.size() / 2 + Below(content_.size())) / unit * unit;
    leaks_ = leaks_ || (size < content_.size() &&
                        absl::EndsWith(shape_.formats.front(), "qed"));
    Must(ResizeImage(files_, kChainImage, {.bytes = size, .shrink = true})
             .status());
    content_.resize(size);
    return "resize: ";
  }

  // What a copy in another format shows.
  std::string Convert() {
    ConvertOptions options;
    options.target.format =
        std::vector<std::string>{"raw", "qed", "add-cow", "qcow2"}[Below(4)];
    options.target.force = true;
    if (options.target.format != "raw") {
      options.target.cluster_size = kCluster << Below(3);
      if (Below(2) == 0) options.target.backing_file = kOtherBase;
      if (Below(2) == 0) options.target.backing_format = "raw";
      if (options.target.backing_file.empty()) {
        options.target.backing_format.clear();
      }
    }
    if (options.target.format == "add-cow" ||
        options.target.format == "qcow2") {
      options.target.data_file = absl::StrCat("copy", ++copies_);
    }
    options.sparse_bytes = std::vector<uint64_t>{0, 512, 4096, 65536}[Below(4)];
    options.work.parallel = 1 + static_cast<int>(Below(4));
    Must(ConvertImage(files_, kChainImage, kOutput, options).status());
    std::string expected = content_;
    if (options.target.format == "qed" || options.target.format == "qcow2") {
      expected.resize((expected.size() + 511) / 512 * 512);
    }
    const auto copy =
        Must(OpenImage(files_, kOutput, {.format = options.target.format}));
    EXPECT_TRUE(Shows(*copy, expected)) << options.target.format;
    const CompareResult same = Must(
        CompareImages(*copy, *Must(OpenImage(files_, kChainImage, {})), {}));
    EXPECT_EQ(same.outcome, CompareResult::Outcome::kSame);
    return "convert: ";
  }

  const ChainShape& shape_;
  std::mt19937_64 random_;
  MemoryFileSystem files_;
  std::string content_;
  bool leaks_ = false;  // a QED image lost clusters by shrinking
  int copies_ = 0;
};

class RewritingModelTest : public testing::TestWithParam<ChainShape> {};

TEST_P(RewritingModelTest, DiskShowsWhatTheModelHolds) {
  const uint64_t rounds = RoundsFor(12);
  for (uint64_t round = 0; round < rounds; ++round) {
    const uint64_t seed = SeedFor(round);
    ASSERT_EQ(Session(GetParam(), seed).Run(12), "")
        << "FLATCOW_SEED=" << seed << " replays it";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, RewritingModelTest,
    testing::Values(
        ChainShape{"qed", {"qed"}, kCluster, 20, 512, 20, 512},
        ChainShape{"qed_alone", {"qed"}, kCluster, 0, 0, 16, 0},
        ChainShape{"qed_longer", {"qed"}, kCluster, 10, 700, 24, 1024},
        ChainShape{"addcow", {"add-cow"}, kCluster, 20, 99, 20, 99},
        ChainShape{"addcow_shorter", {"add-cow"}, kCluster, 30, 0, 20, 7},
        ChainShape{"qed_qed", {"qed", "qed"}, kCluster, 20, 0, 24, 0},
        ChainShape{"qed_addcow", {"qed", "add-cow"}, kCluster, 20, 1, 22, 512},
        ChainShape{"addcow_qed", {"add-cow", "qed"}, kCluster, 20, 0, 22, 512},
        ChainShape{"addcow_in_qed", {"add-cow/qed"}, kCluster, 20, 0, 22, 512},
        ChainShape{"qcow2", {"qcow2"}, kCluster, 20, 512, 20, 512},
        ChainShape{"qcow2_alone", {"qcow2"}, kCluster, 0, 0, 16, 0},
        ChainShape{"qcow2_small", {"qcow2"}, 512, 170, 99, 150, 0},
        ChainShape{"qcow2_qed", {"qcow2", "qed"}, kCluster, 20, 0, 24, 0},
        ChainShape{
            "addcow_qcow2", {"add-cow", "qcow2"}, kCluster, 20, 0, 22, 512}),
    [](const auto& shape) { return shape.param.name; });

}  // namespace
}  // namespace flatcow
