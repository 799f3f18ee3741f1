// SPDX-License-Identifier: Apache-2.0
//
// Every verb of the library, with every file operation failing.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fault/fault_plan.h"
#include "fault/fault_verbs.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "model/chain_shape.h"
#include "model/guest_view.h"
#include "model/image_testing.h"
#include "support/fault_injection_file_system.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

using Effect = FaultVerb::Effect;
using Contents = std::vector<std::pair<std::string, std::string>>;

bool Has(const FaultInjectionFileSystem& files, FaultKind kind) {
  for (const FaultKind injected : files.InjectedKinds()) {
    if (injected == kind) return true;
  }
  return false;
}

class VerbFaultTest : public testing::TestWithParam<FaultVerb> {
 protected:
  void SetUp() override {
    verb_.prepare(fresh_);
    before_ = AllContents(fresh_);
    const auto files = fresh_.Snapshot();
    FaultInjectionFileSystem counting(*files);
    result_ = Must(verb_.run(counting));
    after_ = AllContents(*files);
    faults_ = SomeFaults(counting, /*share=*/1, /*salt=*/0);
    if (verb_.effect != Effect::kCreates) {
      guest_ = std::make_unique<GuestView>(fresh_, kChainImage);
      repaired_guest_ = std::make_unique<GuestView>(*files, kChainImage);
    }
  }

  // Return values: empty, or what the verb did wrong.
  std::string Try(const Fault& fault);
  std::string JudgeResult(const absl::StatusOr<VerbResult>& result,
                          const Fault& fault,
                          const FaultInjectionFileSystem& faults) const;
  std::string JudgeFiles(bool ok, MemoryFileSystem& files,
                         const FaultInjectionFileSystem& faults) const;
  bool IsRepaired(MemoryFileSystem& files) const;
  bool Rewrites() const {
    return verb_.effect == Effect::kRepairs || verb_.effect == Effect::kShrinks;
  }

  const FaultVerb& verb_ = GetParam();
  MemoryFileSystem fresh_;
  Contents before_;
  Contents after_;  // a run without a fault
  VerbResult result_;
  std::unique_ptr<GuestView> guest_;
  std::unique_ptr<GuestView> repaired_guest_;
  std::vector<Fault> faults_;
  bool injected_ = false;
};

std::string VerbFaultTest::JudgeResult(
    const absl::StatusOr<VerbResult>& result, const Fault& fault,
    const FaultInjectionFileSystem& faults) const {
  if (!result.ok()) {
    // A check counts what it could not read; who asked for it says EIO.
    if (Rewrites() && ErrnoOf(result.status()) == EIO &&
        faults.Injected() != 0) {
      return "";
    }
    return JudgeErrno(result.status(), fault, faults.InjectedKinds());
  }
  if (Has(faults, kSyncFault)) return "works although a sync failed";
  if (result->text == result_.text) return "";
  return result->admits_trouble ? "" : "works with a wrong result";
}

std::string VerbFaultTest::JudgeFiles(
    bool ok, MemoryFileSystem& files,
    const FaultInjectionFileSystem& faults) const {
  switch (verb_.effect) {
    case Effect::kNone:
      return AllContents(files) == before_ ? "" : "files have changed";
    case Effect::kCreates:
      if (ok) return AllContents(files) == after_ ? "" : "another file";
      // What could not be removed stays.
      if (AllContents(files) == before_ || Has(faults, kRemoveFault)) return "";
      return "the failure leaves a file behind";
    case Effect::kRepairs:
      return GuestView(files, kChainImage).WhatIsLost(*guest_);
    case Effect::kShrinks:
      return GuestView(files, kChainImage).WhatIsLost(*repaired_guest_);
  }
  return "";
}

// Copies may lie elsewhere, with those of the failed run as leaks before them.
bool VerbFaultTest::IsRepaired(MemoryFileSystem& files) const {
  if (!Rewrites()) return false;
  const CheckResult check = Must(CheckImage(files, kChainImage, {}));
  return check.corruptions + check.check_errors == 0 &&
         GuestView(files, kChainImage).Changes(*repaired_guest_).empty();
}

std::string VerbFaultTest::Try(const Fault& fault) {
  const auto files = fresh_.Snapshot();
  FaultInjectionFileSystem faults(*files);
  faults.Inject(fault);
  const absl::StatusOr<VerbResult> result = verb_.run(faults);
  injected_ = faults.Injected() != 0;
  std::string failure = JudgeResult(result, fault, faults);
  if (failure.empty()) failure = JudgeFiles(result.ok(), *files, faults);
  if (!failure.empty() || (result.ok() && verb_.effect == Effect::kCreates)) {
    return failure;
  }
  faults.Clear();
  if (Has(faults, kRemoveFault)) {
    for (const std::string& path : files->Paths()) {
      if (!fresh_.Exists(path)) Must(files->Remove(path));
    }
  }
  const absl::StatusOr<VerbResult> again = verb_.run(faults);
  if (!again.ok()) {
    return absl::StrCat("fails without the fault: ", again.status().ToString());
  }
  if (AllContents(*files) != after_ && !IsRepaired(*files)) {
    return "files differ the second time";
  }
  if (Rewrites() || again->text == result_.text) return "";
  return "another result the second time";
}

TEST_P(VerbFaultTest, EveryFaultIsHandled) {
  for (const Fault& fault : faults_) {
    const std::string failure = Try(fault);
    FaultTotals::Get().Note(injected_, failure,
                            absl::StrCat(verb_.name, ", ", Describe(fault)));
  }
}

INSTANTIATE_TEST_SUITE_P(Verbs, VerbFaultTest,
                         testing::ValuesIn(AllFaultVerbs()),
                         [](const auto& verb) { return verb.param.name; });

}  // namespace
}  // namespace flatcow
