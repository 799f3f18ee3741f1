// SPDX-License-Identifier: Apache-2.0
#include "model/disk_model.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"

namespace flatcow {
namespace {

class ModelRun {
 public:
  ModelRun(TestedDisk& disk, std::vector<uint8_t> content, uint64_t seed,
           const ModelOptions& options)
      : disk_(disk),
        options_(options),
        model_(std::move(content)),
        seed_(seed),
        random_(seed) {}

  std::string Run() {
    if (disk_.Size() != model_.size()) {
      return Fail(
          "open", {0, 0},
          absl::StrCat("size ", disk_.Size(), ", expected ", model_.size()));
    }
    std::string failure = CompareAll("open");
    for (; failure.empty() && number_ < options_.operations; ++number_) {
      failure = Step();
    }
    if (failure.empty()) failure = CompareAll("end");
    if (failure.empty()) failure = Expect(disk_.Reopen(), "reopen", {0, 0});
    if (failure.empty()) failure = CompareAll("reopen");
    return failure;
  }

 private:
  uint64_t Below(uint64_t bound) {
    return bound == 0
               ? 0
               : std::uniform_int_distribution<uint64_t>(0, bound - 1)(random_);
  }

  // Sizes from a byte to several clusters; borders of clusters and of the disk
  // come up often.
  Extent AnyExtent() {
    const uint64_t size = model_.size();
    const uint64_t cluster = options_.cluster_size;
    uint64_t offset = Below(size);
    if (Below(3) == 0) offset = RoundDown(offset, cluster);
    if (Below(8) == 0) offset = size - std::min(size, Below(2 * cluster));
    uint64_t length = 0;
    switch (Below(5)) {
      case 0:
        length = 1 + Below(16);
        break;
      case 1:
        length = 512 * (1 + Below(8));
        break;
      case 2:
        length = cluster;
        break;
      case 3:
        length = 1 + Below(5 * cluster);
        break;
      default:
        length = cluster * (1 + Below(4));
        break;
    }
    offset = RoundDown(offset, options_.alignment);
    length = RoundUp(length, options_.alignment);
    if (offset >= size) return {0, 0};
    length = std::min(length, size - offset);
    return {offset, RoundDown(length, options_.alignment)};
  }

  std::string Step() {
    const Extent extent = AnyExtent();
    switch (Below(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
      case 6:
        return Write(extent);
      case 7:
      case 8:
      case 9:
        return Zero(extent);
      case 10:
        return Allocate(extent);
      case 11:
        return Below(4) == 0 ? Grow() : "";
      case 12:
      case 13:
        return Expect(disk_.Flush(), "flush", {0, 0});
      case 14:
        if (std::string failure = Expect(disk_.Reopen(), "reopen", {0, 0});
            !failure.empty()) {
          return failure;
        }
        return CompareAll("reopen");
      default:
        return Compare("read", extent);
    }
  }

  std::string Write(Extent extent) {
    std::vector<uint8_t> data =
        Pattern(seed_ ^ static_cast<uint64_t>(number_), extent.length);
    std::copy(data.begin(), data.end(),
              model_.begin() + static_cast<ptrdiff_t>(extent.offset));
    if (std::string failure =
            Expect(disk_.Write(extent.offset, data), "write", extent);
        !failure.empty()) {
      return failure;
    }
    return CompareAround("write", extent);
  }

  std::string Zero(Extent extent) {
    std::fill_n(model_.begin() + static_cast<ptrdiff_t>(extent.offset),
                extent.length, 0);
    if (std::string failure = Expect(disk_.Zero(extent), "zero", extent);
        !failure.empty()) {
      return failure;
    }
    return CompareAround("zero", extent);
  }

  std::string Allocate(Extent extent) {
    if (std::string failure =
            Expect(disk_.Allocate(extent), "allocate", extent);
        !failure.empty()) {
      return failure;
    }
    return CompareAround("allocate", extent);
  }

  std::string Grow() {
    const uint64_t room = options_.max_size -
                          std::min<uint64_t>(options_.max_size, model_.size());
    const uint64_t more = std::min(room, 1 + Below(3 * options_.cluster_size));
    const uint64_t size =
        (model_.size() + more) / options_.size_unit * options_.size_unit;
    if (size <= model_.size()) return "";
    const Extent grown{model_.size(), size - model_.size()};
    model_.resize(size, 0);
    if (std::string failure = Expect(disk_.Grow(size), "grow", grown);
        !failure.empty()) {
      return failure;
    }
    if (disk_.Size() != size) return Fail("grow", grown, "size did not change");
    return CompareAround("grow", grown);
  }

  std::string CompareAll(absl::string_view operation) {
    return Compare(operation, {0, model_.size()});
  }

  // The neighbours must not have changed.
  std::string CompareAround(absl::string_view operation, Extent extent) {
    const uint64_t cluster = options_.cluster_size;
    const uint64_t begin = RoundDown(extent.offset, cluster);
    const uint64_t end =
        std::min<uint64_t>(model_.size(), RoundUp(extent.end(), cluster));
    return Compare(operation, {begin, end - begin});
  }

  std::string Compare(absl::string_view operation, Extent extent) {
    std::vector<uint8_t> got(extent.length, 0xa5);
    if (std::string failure = Expect(
            disk_.Read(extent.offset, absl::MakeSpan(got)), operation, extent);
        !failure.empty()) {
      return failure;
    }
    const auto begin = model_.begin() + static_cast<ptrdiff_t>(extent.offset);
    const auto [wrong, right] = std::mismatch(got.begin(), got.end(), begin);
    if (wrong == got.end()) return "";
    return Fail(
        operation, extent,
        absl::StrCat("byte ",
                     extent.offset + static_cast<uint64_t>(wrong - got.begin()),
                     " reads ", int{*wrong}, ", expected ", int{*right}));
  }

  std::string Expect(const absl::Status& status, absl::string_view operation,
                     Extent extent) {
    if (status.ok()) return "";
    return Fail(operation, extent, std::string(status.message()));
  }

  std::string Fail(absl::string_view operation, Extent extent,
                   const std::string& what) {
    return absl::StrCat("operation ", number_, ", ", operation, " of ",
                        extent.length, " bytes at ", extent.offset, ": ", what,
                        "; replay with FLATCOW_SEED=", seed_);
  }

  TestedDisk& disk_;
  const ModelOptions options_;
  std::vector<uint8_t> model_;
  const uint64_t seed_;
  std::mt19937_64 random_;
  int number_ = 0;
};

uint64_t NumberFromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

}  // namespace

std::string RunModel(TestedDisk& disk, std::vector<uint8_t> content,
                     uint64_t seed, const ModelOptions& options) {
  return ModelRun(disk, std::move(content), seed, options).Run();
}

uint64_t SeedFor(uint64_t n) {
  const uint64_t base = NumberFromEnvironment("FLATCOW_SEED_BASE", 1);
  return NumberFromEnvironment("FLATCOW_SEED", base * 1'000'003 + n);
}

uint64_t RoundsPercent() {
  return std::max<uint64_t>(
      NumberFromEnvironment("FLATCOW_ROUNDS_PERCENT", 100), 1);
}

uint64_t RoundsFor(uint64_t rounds) {
  return std::max<uint64_t>(rounds * RoundsPercent() / 100, 1);
}

std::vector<uint8_t> Pattern(uint64_t tag, uint64_t length) {
  std::vector<uint8_t> bytes(length);
  for (uint64_t at = 0; at < length; at += sizeof(uint64_t)) {
    const uint64_t word = (tag * 0x9e3779b97f4a7c15 + at) | 1;
    std::memcpy(&bytes[at], &word, std::min(sizeof(word), length - at));
  }
  return bytes;
}

}  // namespace flatcow
