// SPDX-License-Identifier: Apache-2.0
#include "ops/disk_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"

namespace flatcow {
namespace {

// What file systems want block sharing to be aligned to.
constexpr uint64_t kBlockBytes = 4096;

bool IsZero(absl::Span<const uint8_t> bytes) {
  return bytes[0] == 0 &&
         std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

// The first unit of `data`, which is at `offset` of a disk that is seen in
// units of so many bytes.
absl::Span<const uint8_t> FirstUnit(uint64_t offset,
                                    absl::Span<const uint8_t> data,
                                    uint64_t unit) {
  return data.first(static_cast<size_t>(
      std::min<uint64_t>(data.size(), unit - offset % unit)));
}

}  // namespace

absl::Status DiskWriter::WriteZeroes(Extent extent) {
  if (!options_.is_zero) RETURN_IF_ERROR(disk_.WriteZeroes(extent));
  if (options_.sparse_bytes != 0) return absl::OkStatus();
  return disk_.Allocate(extent);
}

absl::Status DiskWriter::WriteData(uint64_t offset,
                                   absl::Span<const uint8_t> data) {
  const uint64_t unit = options_.sparse_bytes;
  while (!data.empty()) {
    absl::Span<const uint8_t> run = data;
    bool zero = false;
    if (unit != 0) {
      run = FirstUnit(offset, data, unit);
      zero = IsZero(run);
      while (run.size() < data.size()) {
        const auto next =
            FirstUnit(offset + run.size(), data.subspan(run.size()), unit);
        if (IsZero(next) != zero) break;
        run = data.first(run.size() + next.size());
      }
    }
    if (zero) {
      RETURN_IF_ERROR(WriteZeroes({offset, run.size()}));
    } else {
      ASSIGN_OR_RETURN(const size_t count, disk_.Write(offset, run));
      if (count != run.size()) {
        return MakeError(ENOSPC,
                         absl::StrCat(disk_.Info().path, ": the disk ends at ",
                                      offset + count));
      }
      written_.fetch_add(count);
    }
    offset += run.size();
    data.remove_prefix(run.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> DiskWriter::LetHostCopy(const Segment& segment,
                                                 uint64_t offset) {
  if (flat_ == nullptr || !host_copies_.load()) return 0;
  const bool all = options_.sparse_bytes == 0;
  const uint64_t length =
      all ? segment.length : RoundDown(segment.length, kBlockBytes);
  if (length == 0 || (!all && (!IsAligned(segment.host_offset, kBlockBytes) ||
                               !IsAligned(offset, kBlockBytes)))) {
    return 0;
  }
  ASSIGN_OR_RETURN(
      const uint64_t done,
      flat_->CopyFrom(*segment.file, segment.host_offset, {offset, length},
                      all ? HostCopy::kAny : HostCopy::kShareBlocks));
  if (done == 0) host_copies_.store(false);
  written_.fetch_add(done);
  return done;
}

absl::Status DiskWriter::CopyFrom(Image& source, Extent extent,
                                  absl::Span<uint8_t> buffer) {
  while (flat_ != nullptr && host_copies_.load() && extent.length != 0) {
    ASSIGN_OR_RETURN(const SegmentList segments, source.Map(extent));
    const Segment& segment = segments.front();
    if (segment.kind != Segment::Kind::kData) break;
    ASSIGN_OR_RETURN(const uint64_t done, LetHostCopy(segment, extent.offset));
    if (done == 0) break;
    extent = {extent.offset + done, extent.length - done};
  }
  if (extent.length == 0) return absl::OkStatus();
  const auto bytes = buffer.first(static_cast<size_t>(extent.length));
  ASSIGN_OR_RETURN(const size_t count, source.Read(extent.offset, bytes));
  return WriteData(extent.offset, bytes.first(count));
}

}  // namespace flatcow
