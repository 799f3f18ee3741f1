// SPDX-License-Identifier: Apache-2.0
#include "order/disk_run.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "flatcow/image_ops.h"
#include "model/chain_shape.h"
#include "model/image_testing.h"

namespace flatcow::order {
namespace {

using Kind = Request::Kind;

constexpr uint64_t kAlways = ~uint64_t{0};
constexpr uint64_t kDirtyAt = 2 * kCluster;

std::string NameOf(const Start& start, const std::vector<Request>& requests) {
  return absl::StrCat(
      start.name, ":",
      absl::StrJoin(requests, "+", [](std::string* out, const Request& r) {
        absl::StrAppend(out, r.name);
      }));
}

std::string DirtyCluster() { return PatternText(0xd127, kCluster); }

}  // namespace

const std::vector<Request>& AllRequests() {
  static const auto* const requests = new std::vector<Request>{
      {"write", Kind::kWrite, {kCluster + 700, 1500}},
      {"overlap", Kind::kWrite, {kCluster + 1800, 1400}},
      {"across", Kind::kWrite, {kCluster + 3000, 2200}},
      {"read", Kind::kRead, {kCluster, 2 * kCluster}},
      {"punch", Kind::kZero, {kCluster, kCluster}},
      {"zero", Kind::kZero, {kCluster + 600, 2000}},
      {"flush", Kind::kFlush, {}},
      {"allocate", Kind::kAllocate, {kCluster + 100, kCluster}},
  };
  return *requests;
}

std::vector<Start> AllStarts() {
  std::vector<Start> starts;
  for (const std::string format : {"add-cow", "qed"}) {
    for (const uint64_t base_clusters : {4, 0}) {
      MemoryFileSystem files;
      const std::vector<uint8_t> content =
          MakeChain(files, {.formats = {format},
                            .cluster_size = kCluster,
                            .base_clusters = base_clusters,
                            .disk_clusters = kDiskBytes / kCluster});
      Start start{.name = absl::StrCat(
                      format == "qed" ? "qed" : "addcow",
                      base_clusters != 0 ? "_over_raw" : "_over_nothing"),
                  .content = std::string(content.begin(), content.end())};
      for (const std::string& path : files.Paths()) {
        start.files[path] =
            std::make_shared<const std::string>(files.Contents(path));
      }
      starts.push_back(start);
      start.name += "_dirty";
      start.has_dirty_cluster = true;
      starts.push_back(std::move(start));
    }
  }
  return starts;
}

DiskRun::DiskRun(const Start& start, std::vector<Request> requests)
    : start_(start),
      requests_(std::move(requests)),
      name_(NameOf(start, requests_)) {}

void DiskRun::Fail(const std::string& what) {
  if (violation_.empty()) violation_ = what;
}

void DiskRun::Open() {
  now_ = 0;
  violation_.clear();
  cuts_.clear();
  history_.assign(requests_.size(), {});
  read_.assign(requests_.size(), "");
  image_.reset();
  files_ = std::make_unique<ScheduledFileSystem>(start_.files);
  OpenOptions options = Writable();
  options.lock = false;
  options.metadata_cache = NewMetadataCache(1);
  image_ = Must(OpenImage(*files_, kChainImage, options));
  if (start_.has_dirty_cluster) {
    WriteDisk(*image_, kDirtyAt, DirtyCluster());
    history_.push_back({{now_, now_}, kDirtyAt, DirtyCluster()});
    ++now_;
  }
  // A power cut may lose anything, but not bring what is not written yet.
  files_->SetSyncHook([this] {
    cuts_.push_back({files_->durable(), {0, now_}, "after a sync"});
  });
}

absl::Status DiskRun::Do(const Request& request, size_t number) {
  const uint64_t length = request.extent.length;
  switch (request.kind) {
    case Kind::kWrite: {
      Event& event = history_[number];
      event.offset = request.extent.offset;
      event.data = PatternText(number + 1, length);
      const auto done = image_->Write(
          event.offset,
          absl::MakeConstSpan(
              reinterpret_cast<const uint8_t*>(event.data.data()), length));
      return done.status();
    }
    case Kind::kZero:
      history_[number].offset = request.extent.offset;
      history_[number].data = std::string(length, '\0');
      return image_->WriteZeroes(request.extent);
    case Kind::kRead: {
      std::string& bytes = read_[number];
      bytes.resize(length);
      const auto done = image_->Read(
          request.extent.offset,
          absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), length));
      return done.status();
    }
    case Kind::kFlush:
      return image_->Flush();
    case Kind::kAllocate:
      return image_->Allocate(request.extent);
  }
  return absl::OkStatus();
}

// In a thread of the run.
void DiskRun::Perform(size_t number) {
  Event::Interval& interval = history_[number].interval;
  interval.begin = ++now_;
  const absl::Status status = Do(requests_[number], number);
  interval.end = ++now_;
  if (!status.ok()) {
    Fail(absl::StrCat(requests_[number].name, ": ", status.ToString()));
  }
  if (requests_[number].kind == Kind::kFlush) {
    cuts_.push_back({files_->durable(), interval, "after a flush"});
  }
}

std::vector<Step> DiskRun::Run(const Chooser& choose) {
  Open();
  std::vector<std::function<void()>> bodies;
  for (size_t i = 0; i < requests_.size(); ++i) {
    bodies.push_back([this, i] { Perform(i); });
  }
  std::vector<Step> steps = RunThreads(bodies, name_, choose);
  files_->SetSyncHook(nullptr);
  CheckAfter();
  return steps;
}

void DiskRun::CheckAfter() {
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i].kind != Kind::kRead) continue;
    const History history(start_.content, history_, history_[i].interval);
    const std::string wrong =
        history.Explain(requests_[i].extent.offset, read_[i]);
    if (!wrong.empty()) Fail(absl::StrCat("what was read: ", wrong));
  }
  for (const Cut& cut : cuts_) CheckCut(cut);
  const std::string live = ReadDisk(*image_);
  const History end(start_.content, history_, {kAlways, kAlways});
  const std::string wrong = end.Explain(0, live);
  if (!wrong.empty()) Fail(absl::StrCat("in the end: ", wrong));
  CheckAllDurable(live);
}

// What a power cut left: readable, in order but for leaks, and as it may be.
void DiskRun::CheckCut(const Cut& cut) {
  const auto files = FilesOf(cut.files);
  const auto check = CheckImage(*files, kChainImage, {});
  if (!check.ok() || check->corruptions + check->check_errors != 0) {
    return Fail(absl::StrCat("a power cut ", cut.what, " leaves damage"));
  }
  OpenOptions options;
  options.lock = false;
  options.metadata_cache = NewMetadataCache(1);
  const auto image = Must(OpenImage(*files, kChainImage, options));
  const History history(start_.content, history_, cut.interval);
  const std::string wrong = history.Explain(0, ReadDisk(*image));
  if (!wrong.empty()) {
    Fail(absl::StrCat("a power cut ", cut.what, ": ", wrong));
  }
}

void DiskRun::CheckAllDurable(const std::string& live) {
  if (const absl::Status status = image_->Flush(); !status.ok()) {
    return Fail(status.ToString());
  }
  image_.reset();
  const auto files = FilesOf(files_->durable());
  const auto check = CheckImage(*files, kChainImage, {});
  if (!check.ok() ||
      check->corruptions + check->check_errors + check->leaks != 0) {
    return Fail("after the last flush, check finds leaks or damage");
  }
  OpenOptions options;
  options.lock = false;
  options.metadata_cache = NewMetadataCache(1);
  const auto image = Must(OpenImage(*files, kChainImage, options));
  if (ReadDisk(*image) != live) {
    Fail("after the last flush and a power cut, the disk shows less");
  }
}

}  // namespace flatcow::order
