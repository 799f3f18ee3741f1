// SPDX-License-Identifier: Apache-2.0
//
// Guests at work when the power fails: every format and shape of chain, every
// short sequence of requests and long random ones, cut after every operation.
//
// FLATCOW_CRASH_LONG=1 (./dev crash): longer sequences and more random ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "crash/power_cut.h"
#include "crash/recorded_disk.h"
#include "crash/survivor.h"
#include "crash/tally.h"
#include "model/chain_shape.h"
#include "model/disk_model.h"
#include "model/workload.h"

namespace flatcow {
namespace {

constexpr int kRandomLength = 40;
// What recovery leaves is as clean as any image: a few requests will do.
constexpr size_t kUncleanShort = 2;

bool Reopens(const Workload& workload) {
  return std::any_of(workload.begin(), workload.end(),
                     [](const DiskRequest& request) {
                       return request.kind == DiskRequest::Kind::kReopen;
                     });
}

// What is taken at the end of the file stays leaked when a later cluster is
// used: that of a daemon that came after one that was killed, or one whose L2
// entry stands in another sector and reached the disk alone.
Leaks WhereLeaksAre(const ChainShape& shape, ReopenMeans reopen) {
  constexpr uint64_t kEntriesOfSector = 64;
  const bool one_sector = shape.disk_clusters * 2 < kEntriesOfSector;
  return one_sector && reopen == ReopenMeans::kClose ? Leaks::kAtEnd
                                                     : Leaks::kAnywhere;
}

// A disk with two L2 tables takes longer to look at, and only random requests
// reach both.
bool IsLarge(const ChainShape& shape) { return shape.disk_clusters > 1000; }

// Requests of a short workload.
int LongestShort(const ChainShape& shape) {
  if (IsLarge(shape)) return 1;
  return IsLongRun() ? 4 : 3;
}

class CrashTest : public testing::TestWithParam<ChainShape> {
 protected:
  void Explore(const std::string& name, const Workload& workload,
               ReopenMeans reopen, Left left);
  void ExploreAll(const std::string& name, const Workload& workload);

  const ChainShape& shape_ = GetParam();
  Tally tally_{shape_.name};
  const std::shared_ptr<MetadataCache> cache_ = NewMetadataCache(1);
};

void CrashTest::Explore(const std::string& name, const Workload& workload,
                        ReopenMeans reopen, Left left) {
  if (!tally_.WantsRecording(name)) return;
  const RecordedDisk disk = RecordDisk(shape_, workload, reopen, left);
  const Leaks leaks = WhereLeaksAre(shape_, reopen);
  PromiseOverTime promise(disk);
  const auto wants = [&](size_t operations) {
    const std::string failure = promise.AdvanceTo(operations);
    if (!failure.empty()) {
      ADD_FAILURE() << shape_.name << ": " << Describe(workload)
                    << "\n  after a kill: " << failure;
      return false;
    }
    return tally_.WantsOperations(
        absl::HashOf(promise.promise().fingerprint(), reopen, left),
        operations);
  };
  EachCrashState(
      *disk.before, disk.operations, wants, [&](const CrashState& state) {
        const uint64_t fingerprint = promise.promise().fingerprint();
        if (!tally_.WantsState(name, state, fingerprint)) return;
        const uint64_t salt = state.operations + state.number;
        const std::string failure = Survivor(state.files, cache_, leaks, salt)
                                        .Examine(promise.promise());
        if (failure.empty()) return;
        tally_.Violation(name, Describe(workload), state, failure);
      });
}

void CrashTest::ExploreAll(const std::string& name, const Workload& workload) {
  Explore(name, workload, ReopenMeans::kClose, Left::kClean);
  if (Reopens(workload)) {
    Explore(absl::StrCat(name, "-kill"), workload, ReopenMeans::kKill,
            Left::kClean);
    Explore(absl::StrCat(name, "-kill2"), workload, ReopenMeans::kKillInFlush,
            Left::kClean);
    Explore(absl::StrCat(name, "-kill4"), workload,
            ReopenMeans::kKillLateInFlush, Left::kClean);
  }
  if (shape_.formats.front() == "qed" &&
      (IsLongRun() || workload.size() <= kUncleanShort)) {
    Explore(absl::StrCat(name, "-unclean"), workload, ReopenMeans::kClose,
            Left::kUnclean);
  }
}

TEST_P(CrashTest, ShortWorkloadsKeepThePromise) {
  const std::vector<Workload> workloads =
      ShortWorkloads(shape_, LongestShort(shape_));
  for (size_t i = 0; i < workloads.size(); ++i) {
    ExploreAll(absl::StrCat("short", i), workloads[i]);
  }
}

TEST_P(CrashTest, RandomWorkloadsKeepThePromise) {
  const uint64_t rounds =
      RoundsFor((IsLarge(shape_) ? 1 : 12) * (IsLongRun() ? 20 : 1));
  for (uint64_t round = 0; round < rounds; ++round) {
    const uint64_t seed = SeedFor(round);
    ExploreAll(absl::StrCat("random", seed),
               RandomWorkload(shape_, seed, kRandomLength));
  }
}

std::vector<ChainShape> AllShapes() {
  const std::vector<std::string> qed = {"qed"};
  const std::vector<std::string> addcow = {"add-cow"};
  const std::vector<std::string> qcow2 = {"qcow2"};
  return {
      {"qed_alone", qed, 4096, 0, 0, 6, 0},
      {"qed_same", qed, 4096, 6, 0, 6, 0},
      {"qed_shorter", qed, 4096, 2, 0, 6, 512},
      {"qed_shorter_odd", qed, 4096, 2, 333, 6, 0},
      {"qed_longer_odd", qed, 4096, 9, 77, 5, 1536},
      {"qed_two_tables", qed, 4096, 9, 0, 2049, 512},
      {"addcow_alone", addcow, 4096, 0, 0, 6, 0},
      {"addcow_same", addcow, 4096, 6, 0, 6, 0},
      {"addcow_shorter", addcow, 4096, 2, 0, 6, 1000},
      {"addcow_longer_odd", addcow, 4096, 9, 77, 5, 333},
      {"addcow_512_same", addcow, 512, 12, 0, 12, 0},
      {"addcow_512_shorter_odd", addcow, 512, 5, 99, 12, 100},
      {"addcow_512_longer", addcow, 512, 30, 0, 12, 333},
      {"qcow2_alone", qcow2, 4096, 0, 0, 6, 0},
      {"qcow2_shorter", qcow2, 4096, 2, 0, 6, 512},
      {"qcow2_longer_odd", qcow2, 4096, 9, 77, 5, 1536},
      {"qcow2_512_shorter_odd", qcow2, 512, 5, 99, 12, 0},
      {"qcow2_512_three_tables", qcow2, 512, 30, 0, 130, 0},
      {"qcow2raw", {kDataFileIsDisk}, 4096, 0, 0, 6, 512},
      {"qcow2_subclusters", {kWithSubclusters}, 16384, 2, 99, 6, 512},
      {"june_same", {"june2012"}, 65536, 6, 0, 6, 0},
      {"july_shorter_odd", {"july2012"}, 65536, 2, 99, 6, 333},
      {"qed_on_qed", {"qed", "qed"}, 4096, 9, 77, 6, 0},
      {"qed_on_addcow", {"qed", "add-cow"}, 4096, 3, 99, 6, 512},
      {"addcow_on_qed", {"add-cow", "qed"}, 4096, 9, 0, 6, 0},
      {"addcow_on_addcow_on_qed",
       {"add-cow", "add-cow", "qed"},
       4096,
       4,
       333,
       6,
       512},
      {"addcow_in_qed", {"add-cow/qed"}, 4096, 3, 99, 6, 512},
      {"addcow_in_qed_alone", {"add-cow/qed"}, 4096, 0, 0, 6, 0},
      {"addcow_in_addcow", {"add-cow/add-cow"}, 4096, 9, 77, 5, 333},
  };
}

INSTANTIATE_TEST_SUITE_P(AllShapes, CrashTest, testing::ValuesIn(AllShapes()),
                         [](const auto& shape) { return shape.param.name; });

}  // namespace
}  // namespace flatcow
