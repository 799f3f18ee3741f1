// SPDX-License-Identifier: Apache-2.0
//
// A workload that was run once, with all it did to the files.
#ifndef FLATCOW_TEST_CRASH_RECORDED_DISK_H_
#define FLATCOW_TEST_CRASH_RECORDED_DISK_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "crash/promise.h"
#include "model/chain_shape.h"
#include "model/workload.h"
#include "support/memory_file_system.h"
#include "support/recording_file_system.h"

namespace flatcow {

// What a reopen of the workload stands for: a daemon that ends as it should;
// one that is killed; one that is killed while it flushes, when it has synced
// the data and written some metadata, and when it has written all.
enum class ReopenMeans { kClose, kKill, kKillInFlush, kKillLateInFlush };

// How the image was left before: closed, or (QED) with NEED_CHECK set.
enum class Left { kClean, kUnclean };

struct RecordedDisk {
  struct Request {
    DiskRequest request;
    // How many operations had ended when it began, and when it returned.
    size_t begin = 0;
    size_t end = 0;
    // What the disk shows after a kill.
    std::string observed = {};
  };

  std::unique_ptr<MemoryFileSystem> before;
  std::vector<uint8_t> content;  // what the disk showed before
  std::vector<Request> requests;
  std::vector<FileOperation> operations;
};

// Runs the workload on a new chain; every request must succeed. Files below the
// image can't be written, neither here nor in what is made of `before`.
RecordedDisk RecordDisk(const ChainShape& shape, const Workload& workload,
                        ReopenMeans reopen, Left left);

// The promise as it stands after a number of operations, which only rises.
class PromiseOverTime {
 public:
  explicit PromiseOverTime(const RecordedDisk& disk)
      : disk_(disk), promise_(disk.content) {}

  // Return values: as Promise::Observe().
  std::string AdvanceTo(size_t operations);
  const Promise& promise() const { return promise_; }

 private:
  const RecordedDisk& disk_;
  Promise promise_;
  size_t request_ = 0;  // the next one to return
  bool has_begun_ = false;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_CRASH_RECORDED_DISK_H_
