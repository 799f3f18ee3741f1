// SPDX-License-Identifier: Apache-2.0
#include "format/addcow/layer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/addcow/bitmap.h"

namespace flatcow::addcow {
namespace {

constexpr size_t kWordsAtOnce = 64;
// A round looks at this many clusters at most for whether they are allocated
// (2 MiB of bitmap), so that no flush takes longer for the size of the disk.
constexpr uint64_t kClustersARound = uint64_t{1} << 24;
// Bits cleared in one go: 128 KiB of the bitmap.
constexpr uint64_t kClustersADrop = uint64_t{1} << 20;
constexpr uint64_t kMaxSize = std::numeric_limits<int64_t>::max();

}  // namespace

AddCowLayer::AddCowLayer(File& file, File& image_file, const Header& header,
                         uint64_t virtual_size, uint64_t file_size,
                         std::shared_ptr<MetadataCache> cache)
    : file_(file),
      image_file_(image_file),
      header_(header),
      size_(virtual_size),
      pages_(std::move(cache), file, header.header_size,
             BitmapBytes(virtual_size, header.cluster_size())),
      all_allocated_(header.all_allocated()),
      file_size_(file_size),
      bitmap_complete_(header.header_size +
                           BitmapBytes(virtual_size, header.cluster_size()) <=
                       file_size) {}

absl::StatusOr<std::unique_ptr<Layer>> AddCowLayer::Open(
    File& file, File& image_file, const Header& header,
    std::shared_ptr<MetadataCache> cache) {
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  ASSIGN_OR_RETURN(const FileStat image_stat, image_file.Stat());
  return std::unique_ptr<Layer>(new AddCowLayer(
      file, image_file, header, image_stat.size, stat.size, std::move(cache)));
}

absl::StatusOr<Mapping> AddCowLayer::Map(Extent extent) const {
  if (IsFlat()) {
    return Mapping{.kind = Mapping::Kind::kData,
                   .length = extent.length,
                   .host_offset = extent.offset};
  }
  const uint64_t first = extent.offset >> header_.cluster_bits;
  const uint64_t wanted =
      ((extent.end() - 1) >> header_.cluster_bits) - first + 1;
  std::array<uint64_t, kWordsAtOnce> words;
  bool set = false;
  uint64_t run = 0;
  while (run < wanted) {
    const uint64_t cluster = first + run;
    const uint64_t bit = cluster % kWordBits;
    const size_t ask = static_cast<size_t>(
        std::min<uint64_t>(words.size(), WordCount(cluster, wanted - run)));
    ASSIGN_OR_RETURN(
        const size_t count,
        pages_.Read(WordOf(cluster), absl::MakeSpan(words).first(ask)));
    const bool here = ((words[0] >> bit) & 1) != 0;
    if (run == 0) set = here;
    if (here != set) break;
    const uint64_t limit = std::min(wanted - run, count * kWordBits - bit);
    const uint64_t equal =
        EqualRun(absl::MakeConstSpan(words).first(count), bit, limit);
    run += equal;
    if (equal < limit) break;
  }
  const uint64_t end = std::min(
      extent.end(),
      CheckedMultiply(first + run, cluster_size()).value_or(extent.end()));
  return Mapping{.kind = set ? Mapping::Kind::kData : Mapping::Kind::kBacking,
                 .length = end - extent.offset,
                 .host_offset = set ? extent.offset : 0};
}

absl::Status AddCowLayer::ExtendBitmap(uint64_t virtual_size) {
  const uint64_t end =
      header_.header_size + BitmapBytes(virtual_size, cluster_size());
  MutexLock lock(mutex_);
  if (file_size_ < end) {
    RETURN_IF_ERROR(file_.Truncate(end));
    file_size_ = end;
  }
  bitmap_complete_.store(true, std::memory_order_release);
  return absl::OkStatus();
}

absl::StatusOr<Reservation> AddCowLayer::Reserve(Extent clusters) {
  if (!bitmap_complete_.load(std::memory_order_acquire)) {
    RETURN_IF_ERROR(ExtendBitmap(size()));
  }
  const uint64_t first = clusters.offset >> header_.cluster_bits;
  const uint64_t count = clusters.length >> header_.cluster_bits;
  RETURN_IF_ERROR(pages_.EnsureSpace(WordOf(first), WordCount(first, count)));
  return Reservation{.guest_offset = clusters.offset,
                     .length = clusters.length,
                     .host_offset = clusters.offset,
                     .reads_zero = false};
}

absl::Status AddCowLayer::SetBits(Extent clusters) {
  const uint64_t first = clusters.offset >> header_.cluster_bits;
  const uint64_t count = clusters.length >> header_.cluster_bits;
  return pages_.Modify(WordOf(first), WordCount(first, count),
                       [&](uint64_t word, uint64_t old) {
                         return old | MaskIn(word, first, count);
                       });
}

absl::Status AddCowLayer::Publish(const Reservation& reservation) {
  return SetBits({reservation.guest_offset, reservation.length});
}

absl::Status AddCowLayer::WriteRound(Syncer& syncer) {
  if (pages_.HasCopies() || !file_synced_) {
    RETURN_IF_ERROR(pages_.WriteCopies({}, /*inside=*/false));
    RETURN_IF_ERROR(syncer.Sync(file_));
    file_synced_ = true;
    pages_.FinishCopies();
  }
  return MarkIfComplete(syncer);
}

bool AddCowLayer::IsComplete() {
  const uint64_t end = std::min(
      size(), complete_below_ + (kClustersARound << header_.cluster_bits));
  while (complete_below_ < end) {
    const auto mapping = Map({complete_below_, end - complete_below_});
    if (!mapping.ok() || mapping->kind != Mapping::Kind::kData) return false;
    complete_below_ += mapping->length;
  }
  return complete_below_ >= size();
}

absl::Status AddCowLayer::MarkIfComplete(Syncer& syncer) {
  // A bit that is dirty now was published after the data was synced.
  if (IsFlat() || size() == 0 || !IsComplete() || pages_.HasDirty()) {
    return absl::OkStatus();
  }
  std::array<uint8_t, sizeof(uint64_t)> field;
  StoreLittle64(field.data(), header_.compat_features | kCompatAllAllocated);
  const iovec piece{field.data(), field.size()};
  if (!file_.Write(kCompatOffset, absl::MakeConstSpan(&piece, 1)).ok()) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(syncer.Sync(file_));
  all_allocated_.store(true, std::memory_order_release);
  return absl::OkStatus();
}

absl::Status AddCowLayer::AdoptFileSize() {
  ASSIGN_OR_RETURN(const FileStat stat, image_file_.Stat());
  size_.store(stat.size);
  return absl::OkStatus();
}

absl::Status AddCowLayer::CheckSize(uint64_t new_size) const {
  if (new_size > kMaxSize) {
    return MakeError(EFBIG, absl::StrCat(image_file_.path(), ": resize to ",
                                         new_size, ": at most ", kMaxSize));
  }
  return absl::OkStatus();
}

absl::Status AddCowLayer::PrepareGrow(uint64_t new_size, uint64_t backing_size,
                                      Syncer&) {
  if (IsFlat()) return absl::OkStatus();
  RETURN_IF_ERROR(ExtendBitmap(new_size));
  pages_.SetLength(BitmapBytes(new_size, cluster_size()));
  const uint64_t first = DivideRoundingUp(size(), cluster_size());
  const uint64_t end = DivideRoundingUp(new_size, cluster_size());
  const uint64_t below =
      DivideRoundingUp(std::min(new_size, backing_size), cluster_size());
  if (first >= end) return absl::OkStatus();
  // Bits past the old end may be stale. The image file grows by a hole, which
  // with the bit set hides what the backing file has there.
  const uint64_t set = below > first ? below - first : 0;
  RETURN_IF_ERROR(
      pages_.EnsureSpace(WordOf(first), WordCount(first, end - first)));
  return pages_.Modify(WordOf(first), WordCount(first, end - first),
                       [&](uint64_t word, uint64_t old) {
                         return (old & ~MaskIn(word, first, end - first)) |
                                MaskIn(word, first, set);
                       });
}

absl::StatusOr<uint64_t> AddCowLayer::DropEntries(Extent rest) {
  if (IsFlat()) return rest.length;
  complete_below_ = std::min(complete_below_, rest.offset);
  const uint64_t most = kClustersADrop << header_.cluster_bits;
  ASSIGN_OR_RETURN(const Mapping mapping,
                   Map({rest.offset, std::min(rest.length, most)}));
  if (mapping.kind == Mapping::Kind::kBacking) return mapping.length;
  const uint64_t first = rest.offset >> header_.cluster_bits;
  const uint64_t count = DivideRoundingUp(mapping.length, cluster_size());
  RETURN_IF_ERROR(pages_.Modify(WordOf(first), WordCount(first, count),
                                [&](uint64_t word, uint64_t old) {
                                  return old & ~MaskIn(word, first, count);
                                }));
  return mapping.length;
}

absl::Status AddCowLayer::FinishResize(uint64_t new_size, Syncer& syncer) {
  RETURN_IF_ERROR(image_file_.Truncate(new_size));
  RETURN_IF_ERROR(syncer.Sync(image_file_));
  size_.store(new_size);
  return absl::OkStatus();
}

}  // namespace flatcow::addcow
