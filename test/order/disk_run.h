// SPDX-License-Identifier: Apache-2.0
//
// One run: a disk, and a few requests to it side by side.
#ifndef FLATCOW_TEST_ORDER_DISK_RUN_H_
#define FLATCOW_TEST_ORDER_DISK_RUN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "flatcow/extent.h"
#include "flatcow/image.h"
#include "order/explorer.h"
#include "order/history.h"
#include "order/scheduled_file_system.h"

namespace flatcow::order {

inline constexpr uint64_t kCluster = 4096;
inline constexpr uint64_t kDiskBytes = 4 * kCluster;

struct Request {
  enum class Kind { kWrite, kZero, kRead, kFlush, kAllocate };

  std::string name;
  Kind kind = Kind::kFlush;
  Extent extent = {};
};

// Two overlapping writes in cluster 1, a write and a read across clusters 1 and
// 2, a punch of cluster 1, zeroes in a part of it, a flush, an allocation.
const std::vector<Request>& AllRequests();

// A disk to begin with. Copied for each run.
struct Start {
  std::string name;
  FileContents files = {};
  std::string content = {};  // what it shows
  // Cluster 2 is written, and not flushed, before the run begins.
  bool has_dirty_cluster = false;
};

// Both formats, over a raw file and over nothing, with and without dirt.
std::vector<Start> AllStarts();

class DiskRun {
 public:
  DiskRun(const Start& start, std::vector<Request> requests);

  // "qed_over_raw:write+flush"
  const std::string& name() const { return name_; }

  // Runs the requests and checks everything that can be said of the outcome.
  std::vector<Step> Run(const Chooser& choose);

  // What was wrong with the last run; empty: nothing.
  const std::string& violation() const { return violation_; }

 private:
  struct Cut {
    FileContents files;
    Event::Interval interval;
    const char* what;
  };

  void Open();
  void Perform(size_t number);
  absl::Status Do(const Request& request, size_t number);
  void CheckAfter();
  void CheckCut(const Cut& cut);
  void CheckAllDurable(const std::string& live);
  void Fail(const std::string& what);

  const Start& start_;
  const std::vector<Request> requests_;
  const std::string name_;

  std::unique_ptr<ScheduledFileSystem> files_;
  std::unique_ptr<Image> image_;
  std::vector<Event> history_;  // what each request does to the content
  std::vector<std::string> read_;
  std::vector<Cut> cuts_;
  uint64_t now_ = 0;
  std::string violation_;
};

}  // namespace flatcow::order

#endif  // FLATCOW_TEST_ORDER_DISK_RUN_H_
