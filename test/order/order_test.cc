// SPDX-License-Identifier: Apache-2.0
//
// Requests to one disk, interleaved in every order of their yield points: locks
// taken, conditions waited for, file operations begun and ended. All pairs of
// requests in all orders that differ in more than steps that commute, and a
// sample of triples.
//
//   FLATCOW_ROUNDS_PERCENT=N  that much of the triples
//   FLATCOW_ORDER=START:REQUEST+REQUEST:SCHEDULE  that one run only, as a
//       violation prints it; the schedule is the number of the thread that
//       takes each step
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "model/disk_model.h"
#include "order/disk_run.h"
#include "order/explorer.h"

namespace flatcow::order {
namespace {

// Far above what any pair needs.
constexpr uint64_t kMaxOrders = 20000;
constexpr uint64_t kTriples = 8000;

class Counts : public testing::Environment {
 public:
  void TearDown() override {
    std::printf("interleavings: %llu explored, %llu violations\n",
                static_cast<unsigned long long>(explored),
                static_cast<unsigned long long>(violations));
  }

  uint64_t explored = 0;
  uint64_t violations = 0;
};

Counts& TheCounts() {
  static auto* const counts =
      static_cast<Counts*>(testing::AddGlobalTestEnvironment(new Counts));
  return *counts;
}
const Counts& registered = TheCounts();

// The first violation of a test is shown, all are counted.
std::vector<Step> RunAndCount(DiskRun& run, const Chooser& choose) {
  std::vector<Step> steps = run.Run(choose);
  ++TheCounts().explored;
  if (!run.violation().empty()) {
    ++TheCounts().violations;
    if (!testing::Test::HasFailure()) {
      ADD_FAILURE() << run.violation()
                    << "\nreplay with FLATCOW_ORDER=" << run.name() << ":"
                    << Describe(steps);
    }
  }
  return steps;
}

bool ReplaysOne() { return std::getenv("FLATCOW_ORDER") != nullptr; }

class OrderTest : public testing::TestWithParam<Start> {};

TEST_P(OrderTest, EveryPairInEveryOrder) {
  if (ReplaysOne()) GTEST_SKIP() << "FLATCOW_ORDER asks for one run only";
  const std::vector<Request>& requests = AllRequests();
  for (size_t i = 0; i < requests.size(); ++i) {
    for (size_t j = i; j < requests.size(); ++j) {
      DiskRun run(GetParam(), {requests[i], requests[j]});
      const uint64_t count = ExploreAll(
          [&](const Chooser& choose) { return RunAndCount(run, choose); },
          kMaxOrders);
      ASSERT_LT(count, kMaxOrders) << run.name() << ": there are more orders";
      if (HasFailure()) return;
    }
  }
}

TEST_P(OrderTest, SomeTriplesInSomeOrders) {
  if (ReplaysOne()) GTEST_SKIP() << "FLATCOW_ORDER asks for one run only";
  const std::vector<Request>& requests = AllRequests();
  const uint64_t seed = SeedFor(0);
  std::mt19937_64 random(seed);
  for (uint64_t i = 0; i < RoundsFor(kTriples / AllStarts().size()); ++i) {
    std::vector<Request> three;
    while (three.size() < 3) {
      three.push_back(requests[random() % requests.size()]);
    }
    DiskRun run(GetParam(), std::move(three));
    RunAndCount(run, RandomChooser(random()));
  }
}

INSTANTIATE_TEST_SUITE_P(Starts, OrderTest, testing::ValuesIn(AllStarts()),
                         [](const auto& start) { return start.param.name; });

// FLATCOW_ORDER
TEST(OrderReplayTest, OneRun) {
  if (!ReplaysOne()) return;
  const std::vector<std::string> parts =
      absl::StrSplit(std::getenv("FLATCOW_ORDER"), ':');
  ASSERT_EQ(parts.size(), 3u) << "expected START:REQUEST+REQUEST:SCHEDULE";
  std::vector<Request> chosen;
  for (const absl::string_view name : absl::StrSplit(parts[1], '+')) {
    for (const Request& request : AllRequests()) {
      if (request.name == name) chosen.push_back(request);
    }
  }
  for (const Start& start : AllStarts()) {
    if (start.name != parts[0]) continue;
    DiskRun run(start, chosen);
    RunAndCount(run, FixedChooser(parts[2]));
  }
}

}  // namespace
}  // namespace flatcow::order
