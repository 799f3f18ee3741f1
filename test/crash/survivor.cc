// SPDX-License-Identifier: Apache-2.0
#include "crash/survivor.h"

#include <algorithm>
#include <exception>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/checked_math.h"
#include "crash/promise.h"
#include "flatcow/image_ops.h"
#include "model/chain_shape.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

constexpr uint64_t kAnyNumber = ~uint64_t{0};
// A cluster that the file ends in counts as a leak once the file goes on.
constexpr uint64_t kCutCluster = 1;

}  // namespace

std::unique_ptr<Image> Survivor::Open(Access access) {
  return Must(OpenImage(files_, kChainImage,
                        {.access = access, .metadata_cache = cache_}));
}

std::string Survivor::CheckSound(uint64_t max_leaks) {
  const CheckResult check = Must(CheckImage(files_, kChainImage, {}));
  leaks_ = check.leaks;
  const auto image_file = files_.Open(kChainImageFile, Access::kReadOnly);
  if (image_file.ok() && Must(ProbeFormat(**image_file)) != "raw") {
    const CheckResult inner = Must(CheckImage(files_, kChainImageFile, {}));
    if (inner.corruptions + inner.check_errors != 0) {
      return absl::StrCat("image file: ", absl::StrJoin(inner.problems, "; "));
    }
  }
  if (check.corruptions + check.check_errors == 0 && leaks_ <= max_leaks) {
    return "";
  }
  return absl::StrCat("check: ", absl::StrJoin(check.problems, "; "));
}

std::string Survivor::RepairLeaks() {
  CheckOptions options;
  options.repair = Repair::kLeaks;
  Must(CheckImage(files_, kChainImage, options).status());
  const std::string failure = CheckSound(where_ == Leaks::kAtEnd ? 0 : leaks_);
  return failure.empty() ? "" : absl::StrCat("after repair: ", failure);
}

void Survivor::GoOn(Image& disk, std::string& content) {
  if (salt_ % 4 == 0) {
    constexpr uint64_t kGrowth = 13 * 512;
    content.resize(content.size() + kGrowth, '\0');
    Must(disk.Resize(content.size()));
    if (std::string(ReadDisk(disk)) != content) {
      throw std::runtime_error("what the disk grew by does not read as zeroes");
    }
  }
  const uint64_t length = std::min<uint64_t>(700, content.size());
  const uint64_t places = std::min<uint64_t>(content.size(), 6 << 12) - length;
  const uint64_t at = salt_ * 1237 % (places + 1);
  const std::string data = PatternText(~salt_, length);
  WriteDisk(disk, at, data);
  Overwrite(content, at, data);
  Must(disk.Flush());
}

std::string Survivor::Examine(const Promise& promise) try {
  // Whatever is at the end of a QED file.
  std::string failure = CheckSound(kAnyNumber);
  if (failure.empty() && salt_ % 2 == 0) failure = RepairLeaks();
  if (!failure.empty()) return failure;

  auto disk = Open(Access::kReadWrite);
  std::string content = ReadDisk(*disk);
  failure = promise.Check(content);
  if (!failure.empty()) return failure;
  GoOn(*disk, content);
  disk.reset();

  failure = CheckSound(leaks_ + kCutCluster);
  if (!failure.empty()) return absl::StrCat("after more writes: ", failure);
  disk = Open(Access::kReadOnly);
  if (ReadDisk(*disk) != content) return "what was written later has changed";
  return "";
} catch (const std::exception& exception) {
  return exception.what();
}

}  // namespace flatcow
