// SPDX-License-Identifier: Apache-2.0
#include "fault/fault_run.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "fault/fault_plan.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"

namespace flatcow {
namespace {

using Kind = DiskRequest::Kind;

// Return values: the failure, if there is one, from the function.
#define RETURN_IF_FAILED(expression)                            \
  do {                                                          \
    if (std::string failure = (expression); !failure.empty()) { \
      return failure;                                           \
    }                                                           \
  } while (false)

// A few pages: metadata is read from the file again and again.
constexpr size_t kCacheBytes = 1;

bool Has(const std::vector<FaultKind>& kinds, FaultKind kind) {
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

std::string Failed(absl::string_view what, const absl::Status& status) {
  if (status.ok()) return "";
  return absl::StrCat(what, " fails: ", status.ToString());
}

}  // namespace

FaultRun::FaultRun(const FreshChain& chain, const Workload& workload,
                   std::optional<Fault> fault, uint64_t variant)
    : chain_(chain),
      workload_(workload),
      fault_(std::move(fault)),
      variant_(variant),
      memory_(chain.files.Snapshot()),
      faults_(*memory_),
      files_(faults_, *memory_, variant),
      disk_(files_, kChainImage, NewMetadataCache(kCacheBytes)),
      model_(chain.content) {}

std::string FaultRun::Run() {
  if (fault_.has_value()) faults_.Inject(*fault_);
  RETURN_IF_FAILED(RunWorkload());
  faults_.Clear();
  RETURN_IF_FAILED(Recover());
  RETURN_IF_FAILED(CloseAndCheck());
  return LosePower();
}

std::string FaultRun::RunWorkload() {
  RETURN_IF_FAILED(Open());
  for (size_t i = 0; i < workload_.size(); ++i) {
    if (std::string failure = Step(workload_[i]); !failure.empty()) {
      return absl::StrCat("request ", i + 1, ": ", failure);
    }
  }
  return "";
}

std::string FaultRun::Step(const DiskRequest& request) {
  if (request.kind == Kind::kReopen) RETURN_IF_FAILED(Close());
  if (!open_) RETURN_IF_FAILED(Open());
  if (!open_) return "";
  if (request.kind != Kind::kReopen) {
    // A grow before it may have failed.
    if (!IsInside(request)) return "";
    RETURN_IF_FAILED(Judge(request, Apply(request, disk_)));
  }
  return Look();
}

bool FaultRun::IsInside(const DiskRequest& request) {
  return request.extent.end() <= disk_.Size() &&
         (request.kind != Kind::kGrow || request.size >= disk_.Size());
}

std::string FaultRun::Judge(const DiskRequest& request,
                            const absl::Status& status) {
  const std::vector<FaultKind> kinds = NewFaults();
  if (broken_) {
    // Refused, so that nothing changes.
    if (ErrnoOf(status) == EIO) return "";
    return absl::StrCat("after a failed sync: ", status.ToString());
  }
  if (status.ok()) {
    if (Has(kinds, kSyncFault)) return "works although a sync failed";
    model_.Succeeded(request);
    if (request.kind == Kind::kFlush) model_.Flushed();
    return "";
  }
  RETURN_IF_FAILED(Excuse(status, kinds));
  model_.Failed(request);
  if (Has(kinds, kSyncFault)) {
    model_.LoseUnflushed();
    broken_ = true;
    may_leak_ = true;
  }
  return "";
}

// The whole disk as the guest sees it.
std::string FaultRun::Look() {
  if (!model_.MayHaveSize(disk_.Size())) {
    return absl::StrCat("the disk has ", disk_.Size(), " bytes");
  }
  std::vector<uint8_t> content(disk_.Size(), 0xa5);
  const absl::Status status = disk_.Read(0, absl::MakeSpan(content));
  const std::vector<FaultKind> kinds = NewFaults();
  if (!status.ok()) return Excuse(status, kinds);
  return model_.Observe(content, /*changes=*/broken_);
}

std::string FaultRun::Open() {
  const absl::Status status = disk_.Open();
  const std::vector<FaultKind> kinds = NewFaults();
  open_ = status.ok();
  if (open_) return "";
  disk_.Close();
  return Excuse(status, kinds);
}

std::string FaultRun::Close() {
  disk_.Close();
  // Nobody is told what a close could not write.
  const bool lost = broken_ || !NewFaults().empty();
  if (lost) {
    model_.LoseUnflushed();
    may_leak_ = true;
  }
  broken_ = false;
  open_ = false;
  return "";
}

// With the fault gone, nothing fails but what a failed sync has broken.
std::string FaultRun::Recover() {
  if (!open_) RETURN_IF_FAILED(Open());
  RETURN_IF_FAILED(Look());
  if (broken_) RETURN_IF_FAILED(LeaveBroken());
  if (variant_ % 2 == 0) RETURN_IF_FAILED(Probe());
  RETURN_IF_FAILED(Failed("flush", disk_.Flush()));
  model_.Flushed();
  return "";
}

std::string FaultRun::LeaveBroken() {
  for (const DiskRequest& request :
       {DiskRequest{.kind = Kind::kWrite, .extent = {0, 1}},
        DiskRequest{.kind = Kind::kZero, .extent = {0, 1}},
        DiskRequest{.kind = Kind::kFlush}}) {
    RETURN_IF_FAILED(Judge(request, Apply(request, disk_)));
  }
  RETURN_IF_FAILED(Close());
  RETURN_IF_FAILED(Open());
  return Look();
}

// Requests that touch every cluster: a range that stayed locked would hang.
std::string FaultRun::Probe() {
  const uint64_t cluster = chain_.shape.cluster_size;
  Workload requests = {{.kind = Kind::kZero, .extent = {1, cluster}}};
  for (uint64_t at = 5; at < disk_.Size(); at += cluster) {
    requests.push_back(
        {.kind = Kind::kWrite,
         .extent = {at, std::min(disk_.Size() - at, at % 3 * cluster / 2 + 1)},
         .tag = at});
  }
  for (const DiskRequest& request : requests) {
    RETURN_IF_FAILED(Judge(request, Apply(request, disk_)));
  }
  return Look();
}

std::string FaultRun::CloseAndCheck() {
  RETURN_IF_FAILED(Close());
  RETURN_IF_FAILED(FilesBelow());
  if (chain_.shape.formats.front() == "raw") return "";
  const auto check = CheckImage(*memory_, kChainImage, {});
  RETURN_IF_FAILED(Failed("check", check.status()));
  const bool once = !fault_.has_value() || !fault_->forever;
  if (check->corruptions + check->check_errors == 0 &&
      (check->leaks == 0 || may_leak_ || !once)) {
    return "";
  }
  return absl::StrCat(check->corruptions, " corruptions, ", check->leaks,
                      " leaks, ", check->check_errors,
                      " errors: ", absl::StrJoin(check->problems, "; "));
}

std::string FaultRun::FilesBelow() const {
  for (const std::string& path : chain_.files.Paths()) {
    if (IsWritten(path)) continue;
    if (memory_->Contents(path) != chain_.files.Contents(path)) {
      return absl::StrCat(path, " has changed");
    }
  }
  return "";
}

// The flush was the last thing that wrote, so nothing is lost.
std::string FaultRun::LosePower() {
  files_.LosePower();
  RETURN_IF_FAILED(Open());
  RETURN_IF_FAILED(Look());
  disk_.Close();
  return FilesBelow();
}

std::vector<FaultKind> FaultRun::NewFaults() {
  std::vector<FaultKind> kinds = faults_.InjectedKinds();
  kinds.erase(kinds.begin(),
              kinds.begin() + static_cast<ptrdiff_t>(seen_faults_));
  seen_faults_ += kinds.size();
  return kinds;
}

std::string FaultRun::Excuse(const absl::Status& status,
                             const std::vector<FaultKind>& kinds) const {
  return JudgeErrno(status, fault_.value_or(Fault{}), kinds);
}

}  // namespace flatcow
