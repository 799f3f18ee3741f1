// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "ops/pieces.h"
#include "ops/segment_cursor.h"

namespace flatcow {
namespace {

// What was found first on the disk, whichever thread found it.
class Finding {
 public:
  void Add(uint64_t offset, CompareResult::Outcome outcome,
           absl::Status error = absl::OkStatus()) {
    MutexLock lock(mutex_);
    if (result_.has_value() && result_->offset <= offset) return;
    result_ = CompareResult{
        .outcome = outcome, .offset = offset, .error = std::move(error)};
  }
  std::optional<CompareResult> Get() const {
    MutexLock lock(mutex_);
    return result_;
  }

 private:
  mutable Mutex mutex_;
  std::optional<CompareResult> result_ ABSL_GUARDED_BY(mutex_);
};

class Comparison {
 public:
  Comparison(Image& first, Image& second, const CompareOptions& options)
      : first_(first),
        second_(second),
        options_(options),
        first_cursor_(first),
        second_cursor_(second) {}

  absl::StatusOr<CompareResult> Run();

 private:
  using Outcome = CompareResult::Outcome;

  Stretch Survey(uint64_t offset);
  void Compare(const Piece& piece, absl::Span<uint8_t> buffer);

  Image& first_;
  Image& second_;
  const CompareOptions& options_;
  SegmentCursor first_cursor_;
  SegmentCursor second_cursor_;
  Finding finding_;
};

Stretch Comparison::Survey(uint64_t offset) {
  // What lies behind a finding is not looked at.
  constexpr Stretch kRest{Todo::kNothing, UINT64_MAX};
  if (finding_.Get().has_value()) return kRest;
  const auto first = first_cursor_.At(offset);
  const auto second = second_cursor_.At(offset);
  for (const auto* const segment : {&first, &second}) {
    if (segment->ok()) continue;
    finding_.Add(offset, Outcome::kMapFailed, segment->status());
    return kRest;
  }
  if (options_.strict && first->allocated != second->allocated) {
    finding_.Add(offset, Outcome::kAllocationDiffers);
    return kRest;
  }
  return {AreSame(*first, *second) ? Todo::kNothing : Todo::kData,
          std::min(first->length, second->length)};
}

void Comparison::Compare(const Piece& piece, absl::Span<uint8_t> buffer) {
  const auto length = static_cast<size_t>(piece.extent.length);
  const auto a = buffer.first(length);
  const auto b = buffer.subspan(kPairBytes, length);
  const uint64_t offset = piece.extent.offset;
  absl::Status status = ReadPadded(first_, offset, a);
  if (status.ok()) status = ReadPadded(second_, offset, b);
  if (!status.ok()) {
    finding_.Add(offset, Outcome::kReadFailed, status);
    return;
  }
  if (std::memcmp(a.data(), b.data(), length) == 0) return;
  const auto different = std::mismatch(a.begin(), a.end(), b.begin()).first;
  finding_.Add(offset + static_cast<uint64_t>(different - a.begin()),
               Outcome::kContentDiffers);
}

absl::StatusOr<CompareResult> Comparison::Run() {
  const bool sizes_differ = first_.Size() != second_.Size();
  if (sizes_differ && options_.strict) {
    return CompareResult{.outcome = Outcome::kSizeDiffers,
                         .sizes_differ = true};
  }
  RETURN_IF_ERROR(WorkOnPieces(
      std::max(first_.Size(), second_.Size()), options_.work, kPairBytes,
      [this](uint64_t offset) { return Survey(offset); },
      [this](const Piece& piece, absl::Span<uint8_t> buffer) {
        Compare(piece, buffer);
        return absl::OkStatus();
      }));
  CompareResult result = finding_.Get().value_or(CompareResult{});
  result.sizes_differ = sizes_differ;
  return result;
}

}  // namespace

absl::StatusOr<CompareResult> CompareImages(Image& first, Image& second,
                                            const CompareOptions& options) {
  return Comparison(first, second, options).Run();
}

}  // namespace flatcow
