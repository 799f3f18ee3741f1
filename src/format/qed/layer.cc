// SPDX-License-Identifier: Apache-2.0
#include "format/qed/layer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/table_scan.h"

namespace flatcow::qed {
QedLayer::QedLayer(File& file, const Header& header, uint64_t file_size,
                   const LayerOptions& options)
    : file_(file),
      header_(header),
      geometry_(GeometryOf(header)),
      writable_(options.writable),
      size_(header.image_size),
      initial_end_(RoundDown(file_size, header.cluster_size)),
      tail_(file, file_size, header.cluster_size),
      pages_(options.cache, file, 0, std::numeric_limits<int64_t>::max()),
      tree_(file, pages_, geometry_, [](uint64_t word) { return word; }) {}

absl::StatusOr<std::unique_ptr<Layer>> QedLayer::Open(
    File& file, const Header& header, uint64_t file_size,
    const LayerOptions& options) {
  std::unique_ptr<QedLayer> layer(
      new QedLayer(file, header, file_size, options));
  RETURN_IF_ERROR(layer->LoadTables(header.image_size));
  return layer;
}

absl::Status QedLayer::LoadTables(uint64_t size) {
  const uint64_t reachable = geometry_.ReachableTables(size);
  ASSIGN_OR_RETURN(const std::vector<uint64_t> tables,
                   tree_.Load(size, tail_.end()));
  tables_ =
      std::make_unique<TableSet>(tables, reachable, geometry_.table_bytes());
  states_ = std::make_unique<TableStates>(reachable, states_.get());
  return absl::OkStatus();
}

absl::StatusOr<QedLayer::Table> QedLayer::FindTable(
    uint64_t guest_offset) const {
  ASSIGN_OR_RETURN(const uint64_t table, tree_.Find(guest_offset));
  // The file of an image that is only read does not grow.
  if (table == 0 || !writable_) return Table{table};
  const uint64_t index = geometry_.L1Index(guest_offset);
  if (states_->Get(index) == TableStates::State::kUnknown) {
    RETURN_IF_ERROR(Inspect(index, table));
  }
  return Table{table, states_->Get(index) == TableStates::State::kDamaged};
}

absl::Status QedLayer::Inspect(uint64_t l1_index, uint64_t table) const {
  // Alone, so that it sees no entry that was published meanwhile.
  MutexLock lock(inspection_mutex_);
  if (states_->Get(l1_index) != TableStates::State::kUnknown) {
    return absl::OkStatus();
  }
  auto state = TableStates::State::kSound;
  RETURN_IF_ERROR(ScanWords(file_, {table, geometry_.table_bytes()},
                            [&](uint64_t, uint64_t entry) {
                              if (entry >= initial_end_ &&
                                  IsAligned(entry, geometry_.cluster_size())) {
                                state = TableStates::State::kDamaged;
                              }
                              return absl::OkStatus();
                            }));
  states_->Set(l1_index, state);
  return absl::OkStatus();
}

absl::StatusOr<Mapping> QedLayer::Map(Extent extent) const {
  ASSIGN_OR_RETURN(const Table table, FindTable(extent.offset));
  return table.offset == 0 ? tree_.MapUntabled(extent)
                           : MapTable(extent, table);
}

uint64_t QedLayer::ValidClusters(uint64_t host_offset, uint64_t count,
                                 uint64_t file_end) const {
  const uint64_t cluster_size = geometry_.cluster_size();
  if (!geometry_.IsPlace(host_offset, cluster_size, file_end)) return 0;
  uint64_t valid = std::min(count, (file_end - host_offset) / cluster_size);
  const uint64_t l1_offset = geometry_.l1_extent().offset;
  if (host_offset < l1_offset) {
    valid = std::min(valid, (l1_offset - host_offset) / cluster_size);
  }
  const auto table = tables_->FirstOverlap({host_offset, valid * cluster_size});
  if (!table.has_value()) return valid;
  return *table > host_offset ? (*table - host_offset) / cluster_size : 0;
}

// A run of entries of one table that say the same.
absl::StatusOr<Mapping> QedLayer::MapTable(Extent extent,
                                           const Table& table) const {
  const uint64_t cluster_size = geometry_.cluster_size();
  const uint64_t in_cluster = extent.offset & (cluster_size - 1);
  const uint64_t first = geometry_.L2Index(extent.offset);
  const uint64_t wanted =
      std::min(DivideRoundingUp(in_cluster + extent.length, cluster_size),
               geometry_.table_entries() - first);
  std::array<uint64_t, kEntriesAtOnce> entries;
  uint64_t value = 0;
  uint64_t run = 0;
  bool run_ends = false;
  while (run < wanted && !run_ends) {
    const size_t ask =
        static_cast<size_t>(std::min<uint64_t>(entries.size(), wanted - run));
    ASSIGN_OR_RETURN(const size_t count,
                     pages_.Read(geometry_.L2Word(table.offset, first + run),
                                 absl::MakeSpan(entries).first(ask)));
    if (run == 0) value = entries[0];
    const uint64_t step = value > kZeroCluster ? cluster_size : 0;
    for (size_t i = 0; i < count && !run_ends; ++i) {
      run_ends = entries[i] != value + run * step;
      if (!run_ends) ++run;
    }
  }
  Mapping mapping{.kind = Mapping::Kind::kData, .length = 0, .host_offset = 0};
  if (value == kUnallocated) {
    mapping.kind = Mapping::Kind::kBacking;
  } else if (value == kZeroCluster) {
    mapping.kind = Mapping::Kind::kZero;
  } else {
    run = ValidClusters(value, run, table.damaged ? initial_end_ : tail_.end());
    if (run == 0) {
      return tree_.BadEntry("L2", first, geometry_.L2Word(table.offset, first),
                            value);
    }
    mapping.host_offset = value + in_cluster;
  }
  mapping.length = std::min(extent.length, run * cluster_size - in_cluster);
  return mapping;
}

absl::StatusOr<uint64_t> QedLayer::FindOrAddTable(uint64_t guest_offset) {
  const uint64_t index = geometry_.L1Index(guest_offset);
  ASSIGN_OR_RETURN(Table found, FindTable(guest_offset));
  if (found.damaged) {
    return MakeError(
        EIO, absl::StrCat(file_.path(), ": the L2 table at byte ", found.offset,
                          " names clusters past the end of the file, so that "
                          "none can be added to it; the image is damaged: run "
                          "flatcow-img check -r all"));
  }
  if (found.offset != 0) return found.offset;
  MutexLock lock(table_mutex_);
  ASSIGN_OR_RETURN(found, FindTable(guest_offset));
  if (found.offset != 0) return found.offset;
  const uint64_t word = geometry_.L1Word(index);
  RETURN_IF_ERROR(pages_.EnsureSpace(word, 1));
  // Only space nobody wrote to reads as zeroes: never what was given back.
  ASSIGN_OR_RETURN(const uint64_t table, tail_.Extend(geometry_.table_bytes()));
  absl::Status status = file_.Allocate({table, geometry_.table_bytes()});
  if (status.ok()) {
    states_->Set(index, TableStates::State::kSound);
    status = pages_.Modify(word, 1, [&](uint64_t, uint64_t) { return table; });
  }
  if (!status.ok()) {
    tail_.GiveBack({table, geometry_.table_bytes()});
    return status;
  }
  tables_->Append(table);
  return table;
}

absl::StatusOr<Reservation> QedLayer::Reserve(Extent clusters) {
  ASSIGN_OR_RETURN(const uint64_t table, FindOrAddTable(clusters.offset));
  const uint64_t cluster_size = geometry_.cluster_size();
  const uint64_t first = geometry_.L2Index(clusters.offset);
  const uint64_t wanted = std::min(clusters.length / cluster_size,
                                   geometry_.table_entries() - first) *
                          cluster_size;
  RETURN_IF_ERROR(pages_.EnsureSpace(geometry_.L2Word(table, first),
                                     wanted / cluster_size));
  ASSIGN_OR_RETURN(const FileTail::Space space, tail_.Take(wanted));
  return Reservation{.guest_offset = clusters.offset,
                     .length = space.extent.length,
                     .host_offset = space.extent.offset,
                     .reads_zero = space.reads_zero};
}

void QedLayer::Release(const Reservation& reservation) {
  tail_.GiveBack({reservation.host_offset, reservation.length});
}

absl::Status QedLayer::Publish(const Reservation& reservation) {
  const uint64_t cluster_size = geometry_.cluster_size();
  const auto table = FindTable(reservation.guest_offset);
  absl::Status status = table.status();
  uint64_t published = 0;  // bytes
  while (status.ok() && published < reservation.length) {
    const uint64_t first = geometry_.L2Word(
        table->offset, geometry_.L2Index(reservation.guest_offset + published));
    const uint64_t count =
        std::min((reservation.length - published) / cluster_size,
                 MetadataCache::WordsToPageEnd(first));
    const uint64_t host_offset = reservation.host_offset + published;
    status = pages_.Modify(first, count, [&](uint64_t word, uint64_t) {
      return host_offset + (word - first) * cluster_size;
    });
    if (status.ok()) published += count * cluster_size;
  }
  if (!status.ok()) {
    tail_.GiveBack(
        {reservation.host_offset + published, reservation.length - published});
  }
  return status;
}

absl::Status QedLayer::MarkZero(Extent clusters) {
  const uint64_t cluster_size = geometry_.cluster_size();
  for (uint64_t at = clusters.offset; at < clusters.end();) {
    ASSIGN_OR_RETURN(const uint64_t table, FindOrAddTable(at));
    const uint64_t index = geometry_.L2Index(at);
    const uint64_t count = std::min((clusters.end() - at) / cluster_size,
                                    geometry_.table_entries() - index);
    const uint64_t word = geometry_.L2Word(table, index);
    RETURN_IF_ERROR(pages_.EnsureSpace(word, count));
    RETURN_IF_ERROR(pages_.Modify(
        word, count, [](uint64_t, uint64_t) { return kZeroCluster; }));
    at += count * cluster_size;
  }
  return absl::OkStatus();
}

absl::Status QedLayer::WriteRound(Syncer& syncer) {
  if (!pages_.HasCopies()) return absl::OkStatus();
  const Extent l1 = geometry_.l1_extent();
  RETURN_IF_ERROR(pages_.WriteCopies({l1}, /*inside=*/false));
  RETURN_IF_ERROR(syncer.Sync(file_));
  if (pages_.HasCopiesIn(l1)) {
    RETURN_IF_ERROR(pages_.WriteCopies({l1}, /*inside=*/true));
    RETURN_IF_ERROR(syncer.Sync(file_));
  }
  pages_.FinishCopies();
  return absl::OkStatus();
}

absl::Status QedLayer::CheckSize(uint64_t new_size) const {
  const uint64_t max = MaxImageSize(header_.cluster_size, header_.table_size);
  if (new_size > max) {
    return MakeError(EFBIG, absl::StrCat(file_.path(), ": resize to ", new_size,
                                         ": QED tables of this size hold at "
                                         "most ",
                                         max, " bytes"));
  }
  if (!IsAligned(new_size, kSectorBytes)) {
    return MakeError(EINVAL,
                     absl::StrCat(file_.path(), ": resize to ", new_size,
                                  ": a QED disk is a multiple of 512 "
                                  "bytes"));
  }
  return absl::OkStatus();
}

absl::Status QedLayer::PrepareGrow(uint64_t new_size, uint64_t backing_size,
                                   Syncer&) {
  const uint64_t cluster_size = geometry_.cluster_size();
  const uint64_t reach = geometry_.table_reach();
  const uint64_t first_new = RoundUp(size(), cluster_size);
  // Tables past the old end were never looked at.
  const uint64_t old_tables = geometry_.ReachableTables(size());
  const uint64_t new_tables = geometry_.ReachableTables(new_size);
  for (uint64_t index = old_tables; index < new_tables; ++index) {
    RETURN_IF_ERROR(tree_.Drop(index).status());
  }
  RETURN_IF_ERROR(LoadTables(new_size));
  // The table that the old end lies in may have entries behind it.
  for (uint64_t at = first_new; at % reach != 0;) {
    ASSIGN_OR_RETURN(const uint64_t done,
                     DropEntries({at, reach - at % reach}));
    at += done;
  }
  const uint64_t below =
      RoundUp(std::min(new_size, backing_size), cluster_size);
  if (below <= first_new) return absl::OkStatus();
  return MarkZero({first_new, below - first_new});
}

absl::StatusOr<uint64_t> QedLayer::DropEntries(Extent rest) {
  const uint64_t reach = geometry_.table_reach();
  if (rest.offset % reach == 0) {
    RETURN_IF_ERROR(tree_.Drop(geometry_.L1Index(rest.offset)).status());
    return std::min(rest.length, reach);
  }
  const uint64_t in_table = std::min(rest.length, reach - rest.offset % reach);
  ASSIGN_OR_RETURN(const Table table, FindTable(rest.offset));
  if (table.offset == 0) return in_table;
  const uint64_t first =
      geometry_.L2Word(table.offset, geometry_.L2Index(rest.offset));
  const uint64_t wanted = DivideRoundingUp(in_table, geometry_.cluster_size());
  std::array<uint64_t, kEntriesAtOnce> entries;
  const size_t ask =
      static_cast<size_t>(std::min<uint64_t>(entries.size(), wanted));
  ASSIGN_OR_RETURN(const size_t count,
                   pages_.Read(first, absl::MakeSpan(entries).first(ask)));
  if (std::any_of(entries.begin(), entries.begin() + count,
                  [](uint64_t entry) { return entry != kUnallocated; })) {
    RETURN_IF_ERROR(pages_.Modify(
        first, count, [](uint64_t, uint64_t) { return kUnallocated; }));
  }
  return std::min(in_table, count * geometry_.cluster_size());
}

absl::Status QedLayer::WriteSize(uint64_t size) {
  std::array<uint8_t, sizeof(uint64_t)> field;
  StoreLittle64(field.data(), size);
  const iovec piece{field.data(), field.size()};
  return file_.Write(kImageSizeOffset, absl::MakeConstSpan(&piece, 1));
}

absl::Status QedLayer::FinishResize(uint64_t new_size, Syncer& syncer) {
  if (absl::Status status = WriteSize(new_size); !status.ok()) {
    WriteSize(size()).IgnoreError();
    return status;
  }
  RETURN_IF_ERROR(syncer.Sync(file_));
  size_.store(new_size);
  return absl::OkStatus();
}

}  // namespace flatcow::qed
