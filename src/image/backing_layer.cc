// SPDX-License-Identifier: Apache-2.0
#include "image/backing_layer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/checked_math.h"
#include "base/status_macros.h"

namespace flatcow {
namespace {

// A word says of one unit: in bits 0-1 what it is, in bits 2-10 which source
// has it, from bit 11 on the sector of that file. There are at most two sources
// for each file of a chain.
constexpr uint64_t kZeroUnit = 1;
constexpr uint64_t kDataUnit = 2;
constexpr uint64_t kKindMask = 3;
constexpr int kSourceShift = 2;
constexpr uint64_t kSourceMask = 0x1ff;
constexpr int kSectorShift = 11;
constexpr uint64_t kSectorLimit = uint64_t{1} << (64 - kSectorShift);
constexpr uint64_t kSector = 512;

constexpr size_t kUnitsAtOnce = 64;

}  // namespace

BackingLayer::BackingLayer(ChainLayer layer,
                           std::shared_ptr<const BackingLayer> below,
                           std::shared_ptr<MetadataCache> cache)
    : parts_(std::move(layer)), below_(std::move(below)) {
  uint16_t depth = 0;
  for (const BackingLayer* at = this; at != nullptr;
       at = at->below(), ++depth) {
    sources_.push_back({&at->layer().data_file(), depth});
    if (const File* const computed = at->layer().computed_file();
        computed != nullptr) {
      sources_.push_back({computed, depth});
    }
    const uint64_t cluster_size = at->layer().cluster_size();
    if (cluster_size < kSector) continue;  // raw
    unit_ = unit_ == 0 ? cluster_size : std::min(unit_, cluster_size);
  }
  if (unit_ != 0 && below_ != nullptr) {
    remembered_.emplace(std::move(cache));
  }
}

absl::Status BackingLayer::Resolve(size_t depth, Extent extent, Detail detail,
                                   KnownRun& known, SegmentList& out) const {
  return detail == Detail::kForIo && remembered_.has_value()
             ? ResolveRemembered(depth, extent, out)
             : Walk(depth, extent, detail, known, out);
}

absl::Status BackingLayer::Walk(size_t depth, Extent extent, Detail detail,
                                KnownRun& known, SegmentList& out) const {
  const auto walk_below = [&](Extent run) {
    return below_->Walk(depth + 1, run, detail, known, out);
  };
  const ResolveBelow below = walk_below;
  return ResolveLayer(layer(), depth, extent, detail,
                      below_ != nullptr ? &below : nullptr, known, out);
}

uint64_t BackingLayer::EncodeUnit(const Segment& segment, uint64_t at) const {
  if (segment.kind == Segment::Kind::kZero) return kZeroUnit;
  const uint64_t host_offset = segment.host_offset + at;
  if (host_offset % kSector != 0 || host_offset / kSector >= kSectorLimit) {
    return RememberedWords::kUnknown;
  }
  const auto source = std::find_if(sources_.begin() + segment.depth,
                                   sources_.end(), [&](const Source& known) {
                                     return known.file == segment.file &&
                                            known.depth == segment.depth;
                                   });
  return kDataUnit |
         static_cast<uint64_t>(source - sources_.begin()) << kSourceShift |
         (host_offset / kSector) << kSectorShift;
}

Segment BackingLayer::DecodeUnit(uint64_t word) const {
  if ((word & kKindMask) == kZeroUnit) return {};
  const Source& source = sources_[(word >> kSourceShift) & kSourceMask];
  return {.kind = Segment::Kind::kData,
          .allocated = true,
          .depth = source.depth,
          .length = 0,
          .file = source.file,
          .host_offset = (word >> kSectorShift) * kSector};
}

absl::Status BackingLayer::Learn(uint64_t first_unit, size_t count,
                                 SegmentList& found) const {
  const uint64_t begin = first_unit * unit_;
  KnownRun known;
  RETURN_IF_ERROR(
      Walk(0, {begin, count * unit_}, Detail::kForIo, known, found));
  std::array<uint64_t, kUnitsAtOnce> words{};
  uint64_t at = 0;  // from `begin`
  for (const Segment& segment : found) {
    const uint64_t end = at + segment.length;
    // A unit that is not all in one segment stays unknown.
    for (uint64_t unit = DivideRoundingUp(at, unit_); (unit + 1) * unit_ <= end;
         ++unit) {
      words[unit] = EncodeUnit(segment, unit * unit_ - at);
    }
    at = end;
  }
  remembered_->Store(first_unit, absl::MakeConstSpan(words).first(count));
  return absl::OkStatus();
}

absl::Status BackingLayer::ResolveRemembered(size_t depth, Extent extent,
                                             SegmentList& out) const {
  const auto append = [&](Segment segment, uint64_t skipped, uint64_t length) {
    segment.length = length;
    if (segment.kind == Segment::Kind::kData) segment.host_offset += skipped;
    if (segment.allocated) {
      segment.depth = static_cast<uint16_t>(segment.depth + depth);
    }
    AppendSegment(segment, Detail::kForIo, out);
    extent = {extent.offset + length, extent.length - length};
  };
  while (extent.length != 0) {
    std::array<uint64_t, kUnitsAtOnce> words;
    const uint64_t first = extent.offset / unit_;
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(
        words.size(), DivideRoundingUp(extent.end(), unit_) - first));
    const size_t known =
        remembered_->Find(first, absl::MakeSpan(words).first(wanted));
    for (size_t i = 0; i < known; ++i) {
      const uint64_t skipped = extent.offset % unit_;
      append(DecodeUnit(words[i]), skipped,
             std::min(extent.length, unit_ - skipped));
    }
    if (known == wanted) continue;
    SegmentList found;
    RETURN_IF_ERROR(Learn(first + known, wanted - known, found));
    uint64_t skipped = extent.offset - (first + known) * unit_;
    for (const Segment& segment : found) {
      if (extent.length == 0) break;
      const uint64_t here = std::min(skipped, segment.length);
      skipped -= here;
      if (here == segment.length) continue;
      append(segment, here, std::min(extent.length, segment.length - here));
    }
  }
  return absl::OkStatus();
}

}  // namespace flatcow
