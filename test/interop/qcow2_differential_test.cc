// SPDX-License-Identifier: Apache-2.0
//
// qcow2 images of every kind that QEMU makes: flatcow reads the same bytes and
// finds them in the same places.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "flatcow/image.h"
#include "interop/differential_run.h"
#include "interop/qcow2_zoo.h"
#include "interop/qemu.h"
#include "interop/qemu_map.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

FeatureCount& counts = CountedUntilTheEnd("read");

std::string Print(const Choice& choice) {
  return absl::StrCat(choice.dimension, "=", choice.value);
}

CoveringPlan& Plan() {
  static CoveringPlan plan = PlanOfReadImages();
  return plan;
}

class Qcow2DifferentialTest : public DifferentialTest {
 protected:
  // Pieces of any length, which begin and end inside clusters.
  static void ExpectPieces(Image& image, const std::string& content) {
    std::mt19937_64 random(GetParam());
    for (int i = 0; i < 50; ++i) {
      const uint64_t offset = random() % content.size();
      const uint64_t length =
          std::min(1 + random() % 100000, content.size() - offset);
      ASSERT_TRUE(ReadDisk(image, {offset, length}) ==
                  content.substr(offset, length))
          << length << " bytes at " << offset;
    }
  }
};

TEST_P(Qcow2DifferentialTest, FlatcowReadsWhatQemuWrote) {
  const Combination& traits = Plan().At(GetParam());
  SCOPED_TRACE(Replay());
  counts.Add(traits);
  Qcow2Builder builder(traits, GetParam());
  SCOPED_TRACE(builder.Build());
  FileSystem& files = PosixFileSystem();
  MustRun({"qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", "top",
           "converted"});
  const std::string content = ReadFile(files, "converted");
  const auto image = Must(OpenImage(files, "top", {}));
  EXPECT_EQ(image->Info().format, "qcow2");
  EXPECT_EQ(absl::StrCat(image->Info().cluster_size),
            traits.at("cluster_size"));
  EXPECT_TRUE(Shows(*image, content));
  ExpectPieces(*image, content);
  if (builder.WholeSectors()) {
    EXPECT_EQ(FlatcowMap(files, "top"), QemuMap("top", "qcow2"));
  }
}

INSTANTIATE_TEST_SUITE_P(Images, Qcow2DifferentialTest,
                         testing::ValuesIn(DifferentialSeeds()),
                         testing::PrintToStringParamName());

// What the short and the long form have is not left to luck.
TEST(Qcow2DifferentialPlanTest, ShortFormHasEveryValue) {
  EXPECT_EQ(absl::StrJoin(Plan().MissingValues(60), " ",
                          [](std::string* out, const Choice& choice) {
                            *out += Print(choice);
                          }),
            "");
}

TEST(Qcow2DifferentialPlanTest, LongFormHasEveryPairThatIsLegal) {
  EXPECT_EQ(absl::StrJoin(Plan().MissingPairs(1000), "\n",
                          [](std::string* out, const auto& pair) {
                            absl::StrAppend(out, Print(pair.first), " ",
                                            Print(pair.second));
                          }),
            "");
}

}  // namespace
}  // namespace flatcow
