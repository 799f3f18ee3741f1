// SPDX-License-Identifier: Apache-2.0
//
// The inputs in test/fuzz/corpus once more: "seed-*" is where fuzzing starts,
// "found-*" is what it has found, each fixed since. A target that is not
// content ends the process; the input is the last that was named.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <string>
#include <vector>

#include "fuzz/fuzz_seeds.h"
#include "fuzz/fuzz_target.h"

namespace flatcow {
namespace {

namespace fs = std::filesystem;

std::string ReadInput(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class FuzzCorpusTest : public testing::TestWithParam<FuzzTarget> {
 protected:
  const fs::path directory_ = fs::path(FLATCOW_FUZZ_CORPUS) / GetParam().name;
};

TEST_P(FuzzCorpusTest, NothingIsFound) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(directory_)) {
    const std::string input = ReadInput(entry.path());
    std::printf("%s\n", entry.path().c_str());
    std::fflush(stdout);
    GetParam().run(reinterpret_cast<const uint8_t*>(input.data()),
                   input.size());
    ++count;
  }
  EXPECT_GE(count, 3);
}

TEST_P(FuzzCorpusTest, ShortInputsSaySomethingToo) {
  std::string input;
  for (int length = 0; length < 40; ++length) {
    GetParam().run(reinterpret_cast<const uint8_t*>(input.data()),
                   input.size());
    input.push_back(static_cast<char>(length * 37));
  }
}

TEST_P(FuzzCorpusTest, SeedsAreWhatIsMadeNow) {
  for (const FuzzSeed& seed : FuzzSeeds()) {
    if (seed.target != GetParam().name) continue;
    EXPECT_TRUE(ReadInput(directory_ / seed.name) == seed.bytes)
        << seed.target << "/" << seed.name
        << " is out of date: run write_fuzz_seeds test/fuzz/corpus";
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, FuzzCorpusTest,
                         testing::ValuesIn(kFuzzTargets),
                         [](const auto& target) {
                           return std::string(target.param.name);
                         });

}  // namespace

void PrintTo(const FuzzTarget& target, std::ostream* out) {
  *out << target.name;
}

}  // namespace flatcow
