// SPDX-License-Identifier: Apache-2.0
#include "fuzz/image_session.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "fuzz/fuzz_target.h"
#include "model/disk_model.h"

namespace flatcow {
namespace {

constexpr int kMostOperations = 64;
constexpr uint64_t kMostRequestBytes = 256 << 10;
constexpr uint64_t kSectorBytes = 512;

}  // namespace

ImageSession::~ImageSession() {
  if (image_ == nullptr) return;
  ReadAll();
  const bool flushed = !image_->Writable() || image_->Flush().ok();
  image_.reset();
  if (!sound_ || !flushed) return;
  const auto check = CheckImage(files_, path_, {});
  if (!check.ok()) return;  // raw
  if (check->corruptions + check->check_errors != 0 ||
      (perfect_ && check->leaks != 0)) {
    FuzzFinding(absl::StrCat(
        "use of a sound image damages it: ",
        check->problems.empty() ? std::string() : check->problems[0]));
  }
}

void ImageSession::ExpectNoFailure(absl::Span<const uint8_t> content) {
  perfect_ = true;
  sound_ = true;
  known_.Learn(0, content);
}

void ImageSession::Run(FuzzInput& input) {
  if (!perfect_) LookAtImage();
  Reopen(input.Byte());
  for (int i = 0; i < kMostOperations && !input.empty(); ++i) {
    OneOperation(input);
  }
}

// Small ones at the start, around the end, anywhere.
Extent ImageSession::TakeExtent(FuzzInput& input) {
  const uint8_t how = input.Byte();
  const uint64_t size = image_->Size();
  Extent extent;
  switch (how % 4) {
    case 0:
      extent.offset = input.Half();
      break;
    case 1:
      extent.offset = uint64_t{input.Byte()} * 4096;
      break;
    case 2:
      extent.offset = size - std::min<uint64_t>(size, input.Half());
      break;
    default:
      extent.offset = input.Below(size);
      break;
  }
  switch (how / 4 % 4) {
    case 0:
      extent.length = uint64_t{input.Byte()} + 1;
      break;
    case 1:
      extent.length = 4096 * (uint64_t{input.Byte()} % 16 + 1);
      break;
    case 2:
      extent.length = uint64_t{input.Half()} + 1;
      break;
    default:
      extent.length = std::min(uint64_t{input.Half()} * 8, kMostRequestBytes);
      break;
  }
  return extent;
}

void ImageSession::LookAtImage() {
  const auto check = CheckAndCompare(files_, path_, Repair::kNone);
  sound_ = check.has_value() && IsClean(*check);
  known_.ForgetAll();
}

void ImageSession::Reopen(uint8_t how) {
  image_.reset();
  OpenOptions options;
  options.metadata_cache = NewMetadataCache(how % 2 == 0 ? 1 : 256 << 10);
  options.access = how / 2 % 4 == 0 ? Access::kReadOnly : Access::kReadWrite;
  auto image = OpenImage(files_, path_, options);
  RequireClear(image.status());
  if (!image.ok()) {
    if (perfect_) FuzzFinding(image.status().ToString());
    return;
  }
  image_ = *std::move(image);
  ReadAll();
  if (how / 8 % 2 == 0) Note(image_->MakeWritable(), {});
  ReadAll();
}

void ImageSession::Check(Repair repair) {
  if (image_ != nullptr && image_->Writable()) Flush();
  image_.reset();
  const auto check = CheckAndCompare(files_, path_, repair);
  if (!check.has_value()) return;
  if (perfect_ && !IsClean(*check)) {
    FuzzFinding(absl::StrCat("an image without damage is not clean: ",
                             check->problems[0]));
  }
  if (!check->changed.empty()) known_.ForgetAll();
  if (repair == Repair::kAll && !sound_) LookAtImage();
}

void ImageSession::Note(const absl::Status& status, Extent extent) {
  RequireClear(status);
  if (status.ok()) return;
  if (perfect_ && ErrnoOf(status) != ENOSPC) {
    FuzzFinding(absl::StrCat("an operation fails on an image without damage: ",
                             status.ToString()));
  }
  known_.Forget(extent);
  // A disk that fills up may leave space reserved.
  perfect_ = false;
}

void ImageSession::Read(Extent extent) {
  std::vector<uint8_t> buffer(extent.length, 0xa5);
  const auto done = image_->Read(extent.offset, absl::MakeSpan(buffer));
  Note(done.status(), {});
  if (!done.ok()) return;
  const uint64_t size = image_->Size();
  const uint64_t there = size - std::min(size, extent.offset);
  if (*done != std::min(extent.length, there)) FuzzFinding("a short read");
  if (!sound_) return;
  buffer.resize(*done);
  if (const auto wrong = known_.Mismatch(extent.offset, buffer)) {
    FuzzFinding(absl::StrCat("byte ", *wrong, " is not what was written"));
  }
  known_.Learn(extent.offset, buffer);
}

void ImageSession::ReadAll() {
  const uint64_t size = std::min(image_->Size(), kSeenBytes);
  for (uint64_t at = 0; at < size; at += kSeenPiece) {
    Read({at, std::min(kSeenPiece, size - at)});
  }
}

void ImageSession::Write(Extent extent, uint64_t tag) {
  const std::vector<uint8_t> data = Pattern(tag, extent.length);
  const uint64_t size = image_->Size();
  const bool inside = extent.offset < size && image_->Writable();
  const auto done = image_->Write(extent.offset, data);
  if (!inside) return RequireClear(done.status());
  Note(done.status(), extent);
  if (!done.ok()) return;
  if (*done != std::min(extent.length, size - extent.offset)) {
    FuzzFinding("a short write");
  }
  known_.Learn(extent.offset, absl::MakeConstSpan(data).first(*done));
  Read(extent);
}

void ImageSession::Zero(Extent extent) {
  const uint64_t size = image_->Size();
  const bool inside = extent.offset <= size &&
                      extent.length <= size - extent.offset &&
                      image_->Writable();
  const absl::Status status = image_->WriteZeroes(extent);
  if (!inside) {
    if (status.ok()) FuzzFinding("zeroes are written where they can't be");
    return RequireClear(status);
  }
  Note(status, extent);
  if (!status.ok()) return;
  known_.LearnZeroes(extent);
  Read(extent);
}

void ImageSession::Discard(Extent extent) {
  const absl::Status status = image_->Discard(extent);
  if (image_->Writable()) Note(status, {});
  known_.Forget(extent);
}

void ImageSession::Allocate(Extent extent) {
  const uint64_t size = image_->Size();
  if (extent.offset >= size) return;
  extent.length = std::min(extent.length, size - extent.offset);
  const absl::Status status = image_->Allocate(extent);
  if (image_->Writable()) Note(status, {});
}

void ImageSession::Map(Extent extent) {
  const uint64_t size = image_->Size();
  if (extent.offset >= size) return;
  extent.length = std::min(extent.length, size - extent.offset);
  const auto segments = image_->Map(extent);
  Note(segments.status(), {});
  if (!segments.ok()) return;
  uint64_t sum = 0;
  for (const Segment& segment : *segments) {
    if (segment.length == 0) FuzzFinding("an empty segment");
    sum += segment.length;
  }
  if (sum != extent.length) FuzzFinding("segments do not cover the extent");
  Note(image_->AllocatedBytes().status(), {});
}

void ImageSession::Grow(uint64_t more) {
  const uint64_t old_size = image_->Size();
  const uint64_t new_size = RoundUp(old_size + more, kSectorBytes);
  const absl::Status status = image_->Resize(new_size);
  if (!image_->Writable()) return RequireClear(status);
  Note(status, {});
  if (image_->Size() != (status.ok() ? new_size : old_size)) {
    FuzzFinding("a disk has another size than it was given");
  }
  if (!status.ok()) return;
  known_.LearnZeroes({old_size, new_size - old_size});
  ReadAll();
}

void ImageSession::Flush() { Note(image_->Flush(), {}); }

void ImageSession::OneOperation(FuzzInput& input) {
  const uint8_t kind = input.Byte();
  if (image_ == nullptr && kind % 16 < 12) return Reopen(kind);
  switch (kind % 16) {
    case 0:
    case 1:
      return Read(TakeExtent(input));
    case 2:
    case 3:
    case 4:
      return Write(TakeExtent(input), kind);
    case 5:
    case 6:
      return Zero(TakeExtent(input));
    case 7:
      return Discard(TakeExtent(input));
    case 8:
      return Allocate(TakeExtent(input));
    case 9:
      return Map(TakeExtent(input));
    case 10:
      return Grow(uint64_t{input.Half()} << (kind / 16 % 8));
    case 11:
      return Flush();
    case 12:
      return Check(Repair::kNone);
    case 13:
      return Check(Repair::kLeaks);
    case 14:
      return Check(Repair::kAll);
    default:
      return Reopen(input.Byte());
  }
}

}  // namespace flatcow
