// SPDX-License-Identifier: Apache-2.0
#include "interop/differential_run.h"

#include <sys/resource.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "interop/qemu.h"

namespace flatcow {
namespace {

constexpr size_t kImages = 60;

class CountPrinter : public testing::Environment {
 public:
  explicit CountPrinter(std::string title) : title_(std::move(title)) {}

  void TearDown() override { std::cout << title_ << ": " << counts.Print(); }

  FeatureCount counts;

 private:
  const std::string title_;
};

}  // namespace

size_t DifferentialImages() {
  const char* const images = std::getenv("FLATCOW_DIFFERENTIAL_IMAGES");
  return images == nullptr ? kImages : std::stoull(images);
}

std::vector<size_t> DifferentialSeeds() {
  const char* const seed = std::getenv("FLATCOW_DIFFERENTIAL_SEED");
  if (seed != nullptr) return {std::stoull(seed)};
  std::vector<size_t> seeds(DifferentialImages());
  std::iota(seeds.begin(), seeds.end(), size_t{0});
  return seeds;
}

FeatureCount& CountedUntilTheEnd(const std::string& title) {
  auto printer = std::make_unique<CountPrinter>(title);
  FeatureCount& counts = printer->counts;
  testing::AddGlobalTestEnvironment(printer.release());  // takes it
  return counts;
}

void DifferentialTest::SetUp() {
  static const bool have_qemu = HaveQemu();
  if (!have_qemu) GTEST_SKIP() << "needs qemu-img and qemu-io";
  // Of a qemu-io that is to end by abort().
  const rlimit no_core_file{0, 0};
  ASSERT_EQ(setrlimit(RLIMIT_CORE, &no_core_file), 0);
}

std::string DifferentialTest::Replay() {
  return absl::StrCat("again with FLATCOW_DIFFERENTIAL_SEED=", GetParam(),
                      "\n");
}

}  // namespace flatcow
