// SPDX-License-Identifier: Apache-2.0
//
// MakeWritable() that fails leaves the open image as it was.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "fault/fault_plan.h"
#include "flatcow/image.h"
#include "model/chain_shape.h"
#include "model/image_testing.h"
#include "support/fault_injection_file_system.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

class MakeWritableFaultTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::vector<uint8_t> content =
        MakeChain(fresh_, {.formats = {GetParam()},
                           .base_clusters = IsAlone() ? 0u : 5u,
                           .disk_clusters = 8});
    content_.assign(content.begin(), content.end());
  }

  static bool IsAlone() {
    return GetParam() == "raw" || GetParam() == kDataFileIsDisk;
  }

  // Return values: empty, or what went wrong.
  std::string Try(Image& image, FaultInjectionFileSystem& faults,
                  const Fault& fault);

  MemoryFileSystem fresh_;
  std::string content_;
};

std::string MakeWritableFaultTest::Try(Image& image,
                                       FaultInjectionFileSystem& faults,
                                       const Fault& fault) {
  const absl::Status status = image.MakeWritable();
  faults.Clear();
  if (!status.ok()) {
    const std::string wrong = JudgeErrno(status, fault, faults.InjectedKinds());
    if (!wrong.empty()) return wrong;
    if (image.Writable()) return "fails, but is writable";
    if (!Shows(image, content_)) return "shows something else";
    Must(image.MakeWritable());
  }
  std::string expected = content_;
  WriteDisk(image, 5000, "hello");
  Overwrite(expected, 5000, "hello");
  return Shows(image, expected) ? "" : "shows something else afterwards";
}

TEST_P(MakeWritableFaultTest, LeavesTheImageAsItWas) {
  uint64_t before = 0;
  std::optional<FaultInjectionFileSystem> counting(fresh_);
  {
    const auto image = Must(OpenImage(*counting, kChainImage, {}));
    before = counting->Count(kEveryFault);
    Must(image->MakeWritable());
  }
  ASSERT_GT(counting->Count(kEveryFault), before);
  for (const Fault& fault : AllFaults(*counting)) {
    const auto files = fresh_.Snapshot();
    FaultInjectionFileSystem faults(*files);
    const auto image = Must(OpenImage(faults, kChainImage, {}));
    faults.Inject(fault);
    const std::string failure = Try(*image, faults, fault);
    FaultTotals::Get().Note(
        faults.Injected() != 0, failure,
        absl::StrCat("make writable, ", GetParam(), ", ", Describe(fault)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Formats, MakeWritableFaultTest,
    testing::Values("raw", "qed", "add-cow", "add-cow/qed", "add-cow/add-cow",
                    "qcow2", kDataFileIsDisk),
    [](const auto& format) {
      return absl::StrReplaceAll(format.param, {{"-", ""}, {"/", "_in_"}});
    });

}  // namespace
}  // namespace flatcow
