// SPDX-License-Identifier: Apache-2.0
//
// One workload with one fault in it, and everything that must hold then.
#ifndef FLATCOW_TEST_FAULT_FAULT_RUN_H_
#define FLATCOW_TEST_FAULT_FAULT_RUN_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "fault/sector_model.h"
#include "model/chain_shape.h"
#include "model/image_disk.h"
#include "model/workload.h"
#include "support/fault_injection_file_system.h"
#include "support/memory_file_system.h"
#include "support/page_cache_file_system.h"

namespace flatcow {

// A chain as it was made, to begin runs with.
struct FreshChain {
  explicit FreshChain(const ChainShape& chain_shape) : shape(chain_shape) {
    content = MakeChain(files, shape);
  }

  ChainShape shape;
  MemoryFileSystem files;
  std::vector<uint8_t> content;
};

// Opens the image, runs the workload and looks at the whole disk after each
// request, with the fault; takes the fault away; sees that everything works
// again; closes, checks, cuts the power, and looks once more.
class FaultRun {
 public:
  // Without a fault the run counts operations. `variant` chooses what is tried
  // after the fault is gone, and what a failed sync loses.
  FaultRun(const FreshChain& chain, const Workload& workload,
           std::optional<Fault> fault, uint64_t variant);

  // Return values: empty, or what went wrong.
  std::string Run();
  // The part of Run() that the fault is for.
  std::string RunWorkload();

  // The file operations, and those that failed.
  const FaultInjectionFileSystem& operations() const { return faults_; }

 private:
  std::string Recover();
  std::string LeaveBroken();
  std::string Probe();
  std::string CloseAndCheck();
  std::string LosePower();
  std::string FilesBelow() const;

  std::string Open();
  std::string Close();
  std::string Step(const DiskRequest& request);
  std::string Judge(const DiskRequest& request, const absl::Status& status);
  std::string Look();
  bool IsInside(const DiskRequest& request);

  // What failed since the last call.
  std::vector<FaultKind> NewFaults();
  std::string Excuse(const absl::Status& status,
                     const std::vector<FaultKind>& kinds) const;

  const FreshChain& chain_;
  const Workload& workload_;
  const std::optional<Fault> fault_;
  const uint64_t variant_;

  const std::unique_ptr<MemoryFileSystem> memory_;
  FaultInjectionFileSystem faults_;
  PageCacheFileSystem files_;
  ImageDisk disk_;
  SectorModel model_;

  size_t seen_faults_ = 0;
  bool open_ = false;
  // A sync has failed: nothing but reads work until the image is opened again.
  bool broken_ = false;
  // Space may be left that no entry names.
  bool may_leak_ = false;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_FAULT_FAULT_RUN_H_
