// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/data_file_layer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/qcow2/build_metadata.h"

namespace flatcow::qcow2 {
namespace {

constexpr uint64_t kSectorBytes = 512;

}  // namespace

absl::StatusOr<std::unique_ptr<Layer>> DataFileLayer::Open(
    File& file, File& data_file, const Header& header,
    const LayerOptions& options) {
  std::unique_ptr<DataFileLayer> layer(
      new DataFileLayer(file, &data_file, header, options));
  RETURN_IF_ERROR(layer->Load());
  RETURN_IF_ERROR(layer->StartSpace());
  return layer;
}

absl::Status DataFileLayer::StartSpace() {
  ASSIGN_OR_RETURN(const FileStat stat, file_.Stat());
  MutexLock lock(table_mutex_);
  space_.emplace(file_, pages_, header_, stat.size);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> DataFileLayer::FindOrAddTable(uint64_t guest_offset) {
  ASSIGN_OR_RETURN(uint64_t table, tree_->Find(guest_offset));
  if (table != 0) return table;
  MutexLock lock(table_mutex_);
  ASSIGN_OR_RETURN(table, tree_->Find(guest_offset));
  if (table != 0) return table;
  const TableGeometry& geometry = tree_->geometry();
  const uint64_t word = geometry.L1Word(geometry.L1Index(guest_offset));
  RETURN_IF_ERROR(pages_.EnsureSpace(word, 1));
  ASSIGN_OR_RETURN(table, space_->Take());
  if (absl::Status status = pages_.Modify(
          word, 1,
          [&](uint64_t, uint64_t) { return SwapBytes(table | kEntryCopied); });
      !status.ok()) {
    space_->Free(table).IgnoreError();
    return status;
  }
  return table;
}

Extent DataFileLayer::WordsOf(uint64_t table, Extent units) const {
  const TableGeometry& geometry = tree_->geometry();
  const uint64_t first = geometry.L2Index(units.offset);
  const uint64_t last = geometry.L2Index(units.end() - 1);
  return {geometry.L2Word(table, first),
          (last - first + 1) * header_.entry_words()};
}

absl::Status DataFileLayer::ModifyEntries(uint64_t table, Extent units,
                                          Change change) {
  const uint64_t entry_words = header_.entry_words();
  const Extent words = WordsOf(table, units);
  const uint64_t first = RoundDown(units.offset, header_.cluster_size());
  return pages_.Modify(
      words.offset, words.length, [&](uint64_t word, uint64_t old) {
        const uint64_t index = word - words.offset;
        Entry entry{.guest_offset =
                        first + (index / entry_words << header_.cluster_bits),
                    .subclusters = kAllSubclusters,
                    .is_bitmap = index % entry_words == 1};
        if (header_.extended_l2()) {
          const uint64_t unit = cluster_size();
          const uint64_t begin = std::max(units.offset, entry.guest_offset);
          const uint64_t end = std::min(
              units.end(), entry.guest_offset + header_.cluster_size());
          const uint64_t count = (end - begin) / unit;
          entry.subclusters = ((uint64_t{1} << count) - 1)
                              << (begin - entry.guest_offset) / unit;
        }
        return SwapBytes(change(entry, SwapBytes(old)));
      });
}

absl::Status DataFileLayer::SetData(uint64_t table, Extent units) {
  return ModifyEntries(table, units, [](const Entry& entry, uint64_t old) {
    if (!entry.is_bitmap) return entry.guest_offset | kEntryCopied;
    return (old | entry.subclusters) & ~(entry.subclusters << kSubclusters);
  });
}

absl::StatusOr<Reservation> DataFileLayer::Reserve(Extent clusters) {
  ASSIGN_OR_RETURN(const uint64_t table, FindOrAddTable(clusters.offset));
  const uint64_t reach = tree_->geometry().table_reach();
  const uint64_t length =
      std::min(clusters.length, reach - clusters.offset % reach);
  const Extent words = WordsOf(table, {clusters.offset, length});
  RETURN_IF_ERROR(pages_.EnsureSpace(words.offset, words.length));
  return Reservation{.guest_offset = clusters.offset,
                     .length = length,
                     .host_offset = clusters.offset,
                     .reads_zero = false};
}

absl::Status DataFileLayer::Publish(const Reservation& reservation) {
  ASSIGN_OR_RETURN(const uint64_t table, tree_->Find(reservation.guest_offset));
  return SetData(table, {reservation.guest_offset, reservation.length});
}

absl::Status DataFileLayer::MarkZero(Extent clusters) {
  const uint64_t reach = tree_->geometry().table_reach();
  while (clusters.length != 0) {
    const uint64_t length =
        std::min(clusters.length, reach - clusters.offset % reach);
    const Extent units{clusters.offset, length};
    ASSIGN_OR_RETURN(const uint64_t table, FindOrAddTable(units.offset));
    const Extent words = WordsOf(table, units);
    RETURN_IF_ERROR(pages_.EnsureSpace(words.offset, words.length));
    RETURN_IF_ERROR(
        ModifyEntries(table, units, [this](const Entry& entry, uint64_t old) {
          if (entry.is_bitmap) {
            return (old | entry.subclusters << kSubclusters) &
                   ~entry.subclusters;
          }
          if (header_.extended_l2()) return old;
          // The data file is the disk there, too.
          return header_.data_file_raw()
                     ? entry.guest_offset | kEntryCopied | kEntryZero
                     : kEntryZero;
        }));
    clusters = {units.end(), clusters.length - length};
  }
  return absl::OkStatus();
}

// What is copied has both a new table's refcount and its L1 entry, or neither.
void DataFileLayer::BeginRound() {
  MutexLock lock(table_mutex_);
  pages_.CopyDirty();
  dropped_in_round_ = std::move(dropped_);
  dropped_.clear();
}

void DataFileLayer::AbandonRound() {
  MutexLock lock(table_mutex_);
  pages_.ReturnCopies();
  dropped_.insert(dropped_.end(), dropped_in_round_.begin(),
                  dropped_in_round_.end());
  dropped_in_round_.clear();
}

absl::Status DataFileLayer::WriteRound(Syncer& syncer) {
  if (!pages_.HasCopies() && file_synced_) return absl::OkStatus();
  const Extent header{0, header_.cluster_size()};
  const Extent l1 = tree_->geometry().l1_extent();
  const Extent refcount_table{
      header_.refcount_table_offset,
      header_.refcount_table_clusters * header_.cluster_size()};
  std::array<Extent, 3> last = {header, l1, refcount_table};
  std::sort(last.begin(), last.end(), [](const Extent& a, const Extent& b) {
    return a.offset < b.offset;
  });
  RETURN_IF_ERROR(pages_.WriteCopies(last, /*inside=*/false));
  RETURN_IF_ERROR(syncer.Sync(file_));
  file_synced_ = true;
  for (const Extent& part : {refcount_table, l1}) {
    if (!pages_.HasCopiesIn(part)) continue;
    RETURN_IF_ERROR(pages_.WriteCopies({part}, /*inside=*/true));
    RETURN_IF_ERROR(syncer.Sync(file_));
  }
  pages_.FinishCopies();
  MutexLock lock(table_mutex_);
  // A failure leaves a cluster that nothing uses.
  for (const uint64_t table : std::exchange(dropped_in_round_, {})) {
    space_->Free(table).IgnoreError();
  }
  return absl::OkStatus();
}

absl::Status DataFileLayer::CheckSize(uint64_t new_size) const {
  if (!IsAligned(new_size, kSectorBytes)) {
    return MakeError(EINVAL,
                     absl::StrCat(file_.path(), ": resize to ", new_size,
                                  ": the size of a qcow2 disk is a multiple of "
                                  "512 bytes"));
  }
  const uint64_t max = MaxSize(header_);
  if (new_size <= max) return absl::OkStatus();
  return MakeError(EFBIG, absl::StrCat(file_.path(), ": resize to ", new_size,
                                       ": a qcow2 image with clusters of ",
                                       header_.cluster_size(),
                                       " bytes holds at most ", max, " bytes"));
}

absl::Status DataFileLayer::EnlargeTables(uint64_t size, Syncer& syncer) {
  ASSIGN_OR_RETURN(const FileStat stat, file_.Stat());
  ASSIGN_OR_RETURN(MetadataMap map, ReadMetadataMap(file_, header_, stat.size));
  const TableGeometry& geometry = tree_->geometry();
  const uint64_t old_tables = geometry.ReachableTables(header_.size);
  const uint64_t new_tables = geometry.ReachableTables(size);
  const bool fill = header_.data_file_raw() && new_tables > old_tables;
  if (!fill && L1EntriesFor(header_, size) <= header_.l1_entries &&
      HasRoomFor(header_, map, size, stat.size)) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const Header built,
                   BuildMetadata(file_, header_, std::move(map), size, syncer));
  RETURN_IF_ERROR(WriteHeaderFields(file_, header_, built, syncer));
  header_ = built;
  pages_.Forget();
  tree_.emplace(file_, pages_, GeometryOf(header_), TableOffset);
  RETURN_IF_ERROR(Load());
  return StartSpace();
}

absl::Status DataFileLayer::PrepareGrow(uint64_t new_size,
                                        uint64_t backing_size, Syncer& syncer) {
  const bool raw = header_.data_file_raw();
  const uint64_t unit = cluster_size();
  const uint64_t first_new = RoundUp(size(), unit);
  RETURN_IF_ERROR(EnlargeTables(new_size, syncer));
  const TableGeometry& geometry = tree_->geometry();
  const uint64_t reach = geometry.table_reach();
  const uint64_t old_tables = geometry.ReachableTables(size());
  const uint64_t new_tables = geometry.ReachableTables(new_size);
  for (uint64_t index = old_tables; !raw && index < new_tables; ++index) {
    RETURN_IF_ERROR(DropTable(index));
  }
  // The table that the old end lies in may have entries behind it.
  for (uint64_t at = first_new; at % reach != 0;) {
    ASSIGN_OR_RETURN(const uint64_t done,
                     DropEntries({at, reach - at % reach}));
    at += done;
  }
  ASSIGN_OR_RETURN(const FileStat stat, file_.Stat());
  RETURN_IF_ERROR(
      tree_->Load(new_size, RoundDown(stat.size, header_.cluster_size()))
          .status());
  const uint64_t end = RoundUp(new_size, unit);
  if (raw) {
    if (first_new % reach == 0 || first_new >= end) return absl::OkStatus();
    const Extent rest{first_new,
                      std::min(end - first_new, reach - first_new % reach)};
    ASSIGN_OR_RETURN(const uint64_t table, FindOrAddTable(rest.offset));
    const Extent words = WordsOf(table, rest);
    RETURN_IF_ERROR(pages_.EnsureSpace(words.offset, words.length));
    return SetData(table, rest);
  }
  const uint64_t below = RoundUp(std::min(new_size, backing_size), unit);
  if (below <= first_new) return absl::OkStatus();
  return MarkZero({first_new, below - first_new});
}

absl::Status DataFileLayer::DropTable(uint64_t l1_index) {
  ASSIGN_OR_RETURN(const uint64_t table, tree_->Drop(l1_index));
  if (table == 0) return absl::OkStatus();
  MutexLock lock(table_mutex_);
  dropped_.push_back(table);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> DataFileLayer::DropEntries(Extent rest) {
  const TableGeometry& geometry = tree_->geometry();
  const uint64_t reach = geometry.table_reach();
  if (rest.offset % reach == 0) {
    RETURN_IF_ERROR(DropTable(geometry.L1Index(rest.offset)));
    return std::min(rest.length, reach);
  }
  const uint64_t in_table = std::min(rest.length, reach - rest.offset % reach);
  ASSIGN_OR_RETURN(const uint64_t table, tree_->Find(rest.offset));
  if (table == 0) return in_table;
  const uint64_t begin = RoundDown(rest.offset, header_.cluster_size());
  const uint64_t at_once =
      kEntriesAtOnce / header_.entry_words() * header_.cluster_size();
  const Extent units{rest.offset,
                     std::min(in_table, begin + at_once - rest.offset)};
  ASSIGN_OR_RETURN(const bool used, HasEntries(table, units));
  if (!used) return units.length;
  RETURN_IF_ERROR(
      ModifyEntries(table, units, [](const Entry& entry, uint64_t old) {
        if (!entry.is_bitmap) {
          return entry.subclusters == kAllSubclusters ? 0 : old;
        }
        return old & ~(entry.subclusters | entry.subclusters << kSubclusters);
      }));
  return units.length;
}

absl::StatusOr<bool> DataFileLayer::HasEntries(uint64_t table,
                                               Extent units) const {
  std::array<uint64_t, kEntriesAtOnce> entries;
  const Extent words = WordsOf(table, units);
  for (uint64_t done = 0; done < words.length;) {
    const auto rest =
        absl::MakeSpan(entries).first(static_cast<size_t>(words.length - done));
    ASSIGN_OR_RETURN(const size_t count,
                     pages_.Read(words.offset + done, rest));
    if (std::any_of(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(count),
                    [](uint64_t entry) { return entry != 0; })) {
      return true;
    }
    done += count;
  }
  return false;
}

absl::Status DataFileLayer::FinishResize(uint64_t new_size, Syncer& syncer) {
  const uint64_t old_size = size();
  ASSIGN_OR_RETURN(const FileStat stat, data_file_.Stat());
  if (new_size > old_size) {
    // The data file may be longer than the disk was.
    if (stat.size > old_size) {
      RETURN_IF_ERROR(data_file_.Zero(
          {old_size, std::min(stat.size, new_size) - old_size}));
    }
    if (stat.size < new_size) RETURN_IF_ERROR(data_file_.Truncate(new_size));
    RETURN_IF_ERROR(syncer.Sync(data_file_));
    data_end_.store(std::max(stat.size, new_size));
  }
  Header header = header_;
  header.size = new_size;
  RETURN_IF_ERROR(WriteHeaderFields(file_, header_, header, syncer));
  header_ = header;
  size_.store(new_size);
  if (new_size < old_size) {
    RETURN_IF_ERROR(data_file_.Truncate(new_size));
    RETURN_IF_ERROR(syncer.Sync(data_file_));
    data_end_.store(new_size);
  }
  return absl::OkStatus();
}

}  // namespace flatcow::qcow2
