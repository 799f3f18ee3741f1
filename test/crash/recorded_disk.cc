// SPDX-License-Identifier: Apache-2.0
#include "crash/recorded_disk.h"

#include "crash/damaged_image.h"
#include "model/image_disk.h"
#include "model/image_testing.h"
#include "support/fault_injection_file_system.h"

namespace flatcow {
namespace {

using Kind = DiskRequest::Kind;

constexpr uint32_t kChanges =
    kWriteFault | kSyncFault | kTruncateFault | kAllocateFault | kZeroFault;

// How much a daemon that is killed does of its last flush.
uint64_t ChangesBeforeDeath(ReopenMeans reopen) {
  switch (reopen) {
    case ReopenMeans::kClose:
    case ReopenMeans::kKill:
      return 0;
    case ReopenMeans::kKillInFlush:
      return 2;  // sync data, write L2 or the bitmap
    case ReopenMeans::kKillLateInFlush:
      return 4;  // and sync that, write L1
  }
  return 0;
}

void Kill(FaultInjectionFileSystem& files, uint64_t changes, ImageDisk& disk) {
  Fault death;
  death.kinds = kChanges;
  death.nth = changes + 1;
  death.forever = true;
  files.Inject(death);
  disk.Flush().IgnoreError();
  // Whatever it had left to do, it has not done.
  death.nth = 1;
  files.Inject(death);
  disk.Close();
  files.Clear();
}

std::string ContentOf(ImageDisk& disk) {
  std::string content(disk.Size(), '\0');
  Must(disk.Read(0, absl::MakeSpan(reinterpret_cast<uint8_t*>(content.data()),
                                   content.size())));
  return content;
}

}  // namespace

RecordedDisk RecordDisk(const ChainShape& shape, const Workload& workload,
                        ReopenMeans reopen, Left left) {
  RecordedDisk result;
  MemoryFileSystem memory;
  result.content = MakeChain(memory, shape);
  if (left == Left::kUnclean) LeaveUnclean(memory);
  for (const std::string& path : memory.Paths()) {
    memory.SetReadOnly(path, !IsWritten(path));
  }
  result.before = memory.Snapshot();

  RecordingFileSystem recorder(memory);
  FaultInjectionFileSystem files(recorder);
  ImageDisk disk(files, kChainImage, NewMetadataCache(1));
  Must(disk.Open());
  for (const DiskRequest& request : workload) {
    RecordedDisk::Request& record = result.requests.emplace_back();
    record.request = request;
    record.begin = recorder.Count();
    if (request.kind == Kind::kReopen && reopen != ReopenMeans::kClose) {
      Kill(files, ChangesBeforeDeath(reopen), disk);
      Must(disk.Open());
      record.observed = ContentOf(disk);
    } else {
      Must(Apply(request, disk));
    }
    record.end = recorder.Count();
  }
  disk.Close();
  result.operations = recorder.Operations();
  return result;
}

std::string PromiseOverTime::AdvanceTo(size_t operations) {
  std::string failure;
  for (; request_ < disk_.requests.size() && failure.empty(); ++request_) {
    const RecordedDisk::Request& record = disk_.requests[request_];
    const bool has_returned = record.end <= operations;
    if (!has_returned && record.begin >= operations) break;
    if (!has_begun_) promise_.Begin(record.request);
    has_begun_ = !has_returned;
    if (!has_returned) break;
    promise_.End(record.request);
    if (!record.observed.empty()) failure = promise_.Observe(record.observed);
  }
  return failure;
}

}  // namespace flatcow
