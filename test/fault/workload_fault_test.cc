// SPDX-License-Identifier: Apache-2.0
//
// Every workload on every shape of chain, with every file operation failing.
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fault/fault_plan.h"
#include "fault/fault_run.h"
#include "model/chain_shape.h"
#include "model/disk_model.h"
#include "model/workload.h"

namespace flatcow {
namespace {

class WorkloadFaultTest : public testing::TestWithParam<ChainShape> {
 protected:
  // In the short form, one fault in so many.
  static constexpr uint64_t kShare = 23;

  void TryFaults(const Workload& workload, uint64_t number,
                 const std::string& name) {
    const std::string where = absl::StrCat(GetParam().name, ", ", name, " (",
                                           Describe(workload), ")");
    ASSERT_EQ(FaultRun(chain_, workload, std::nullopt, number).Run(), "")
        << where << ", without a fault";
    FaultRun counting(chain_, workload, std::nullopt, number);
    ASSERT_EQ(counting.RunWorkload(), "");
    for (const Fault& fault :
         SomeFaults(counting.operations(), kShare, number)) {
      const uint64_t variant = fault.nth + number;
      FaultRun run(chain_, workload, fault, variant);
      const std::string failure = run.Run();
      FaultTotals::Get().Note(
          run.operations().Injected() != 0, failure,
          absl::StrCat(where, ", ", Describe(fault), ", variant ", variant));
    }
  }

  const FreshChain chain_{GetParam()};
};

// All of up to two requests, and some of three.
TEST_P(WorkloadFaultTest, ShortWorkloads) {
  constexpr uint64_t kShareOfLong = 37;
  uint64_t number = 0;
  for (const Workload& workload : ShortWorkloads(GetParam(), 3)) {
    ++number;
    if (workload.size() == 3 && number % kShareOfLong != 0 && !IsLongForm()) {
      continue;
    }
    TryFaults(workload, number, absl::StrCat("workload ", number));
    if (HasFatalFailure()) return;
  }
}

TEST_P(WorkloadFaultTest, RandomWorkloads) {
  constexpr int kLength = 12;
  for (uint64_t round = 0; round < RoundsFor(8); ++round) {
    const uint64_t seed = SeedFor(round);
    TryFaults(RandomWorkload(GetParam(), seed, kLength), round,
              absl::StrCat("FLATCOW_SEED=", seed));
    if (HasFatalFailure()) return;
  }
}

std::vector<ChainShape> Shapes() {
  std::vector<ChainShape> shapes = {
      {.name = "raw", .formats = {"raw"}, .disk_odd = 333},
      {.name = "qed", .formats = {"qed"}},
      {.name = "qed_odd_on_raw",
       .formats = {"qed"},
       .base_clusters = 6,
       .disk_odd = 512},
      {.name = "qed_on_longer_raw",
       .formats = {"qed"},
       .base_clusters = 9,
       .base_odd = 77},
      {.name = "qed_on_shorter_qed",
       .formats = {"qed", "qed"},
       .base_clusters = 3,
       .base_odd = 333},
      {.name = "qed_on_addcow",
       .formats = {"qed", "add-cow"},
       .base_clusters = 6},
      {.name = "addcow_alone", .formats = {"add-cow"}},
      {.name = "addcow_on_raw",
       .formats = {"add-cow"},
       .base_clusters = 6,
       .disk_odd = 333},
      {.name = "small_addcow_on_longer_raw",
       .formats = {"add-cow"},
       .cluster_size = 512,
       .base_clusters = 20,
       .base_odd = 77},
      {.name = "addcow_on_shorter_qed",
       .formats = {"add-cow", "qed"},
       .base_clusters = 3,
       .base_odd = 333},
      {.name = "addcow_in_qed", .formats = {"add-cow/qed"}, .base_clusters = 4},
      {.name = "addcow_in_addcow",
       .formats = {"add-cow/add-cow"},
       .base_clusters = 9,
       .base_odd = 77},
      {.name = "qcow2_alone", .formats = {"qcow2"}, .disk_odd = 512},
      {.name = "qcow2raw", .formats = {kDataFileIsDisk}, .disk_odd = 512},
      {.name = "small_qcow2_on_longer_raw",
       .formats = {"qcow2"},
       .cluster_size = 512,
       .base_clusters = 20,
       .base_odd = 77},
      {.name = "qcow2_on_shorter_qed",
       .formats = {"qcow2", "qed"},
       .base_clusters = 3,
       .base_odd = 333},
      {.name = "qed_on_qcow2", .formats = {"qed", "qcow2"}, .base_clusters = 6},
  };
  for (ChainShape& shape : shapes) {
    shape.disk_clusters = shape.cluster_size == 512 ? 12 : 6;
  }
  return shapes;
}

INSTANTIATE_TEST_SUITE_P(Shapes, WorkloadFaultTest, testing::ValuesIn(Shapes()),
                         [](const auto& shape) { return shape.param.name; });

}  // namespace
}  // namespace flatcow
