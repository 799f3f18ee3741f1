// SPDX-License-Identifier: Apache-2.0
#include "crash/recorded_disk.h"

#include "model/image_disk.h"
#include "model/image_testing.h"
#include "support/fault_injection_file_system.h"

namespace flatcow {
namespace {

using Kind = DiskRequest::Kind;

// A daemon that dies writes nothing more.
void Kill(FaultInjectionFileSystem& files, ImageDisk& disk) {
  files.Inject({.kinds = kAnyFault, .path = "", .nth = 1, .forever = true});
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
                        ReopenMeans reopen) {
  RecordedDisk result;
  MemoryFileSystem memory;
  result.content = MakeChain(memory, shape);
  for (const std::string& path : memory.Paths()) {
    memory.SetReadOnly(path, path != kChainImage && path != "/disks/image0");
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
    if (request.kind == Kind::kReopen && reopen == ReopenMeans::kKill) {
      Kill(files, disk);
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
