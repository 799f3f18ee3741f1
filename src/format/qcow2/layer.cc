// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/layer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "absl/strings/str_format.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"

namespace flatcow::qcow2 {
Qcow2Layer::Qcow2Layer(File& file, File* data_file, const Header& header,
                       const LayerOptions& options)
    : file_(file),
      data_file_(data_file != nullptr ? *data_file : file),
      header_(header),
      size_(header.size),
      pages_(options.cache, file, 0, std::numeric_limits<int64_t>::max()) {
  tree_.emplace(file_, pages_, GeometryOf(header_), TableOffset);
  if (data_file == nullptr) {
    compressed_.emplace(file_, header_, *tree_, pages_, options.cache);
  }
}

absl::StatusOr<std::unique_ptr<Layer>> Qcow2Layer::Open(
    File& file, File* data_file, const Header& header,
    const LayerOptions& options) {
  std::unique_ptr<Qcow2Layer> layer(
      new Qcow2Layer(file, data_file, header, options));
  RETURN_IF_ERROR(layer->Load());
  return layer;
}

absl::Status Qcow2Layer::Load() {
  ASSIGN_OR_RETURN(const FileStat stat, file_.Stat());
  ASSIGN_OR_RETURN(const FileStat data_stat, data_file_.Stat());
  data_end_.store(data_stat.size);
  return tree_->Load(size(), RoundDown(stat.size, header_.cluster_size()))
      .status();
}

uint64_t Qcow2Layer::cluster_size() const {
  return header_.extended_l2() ? header_.cluster_size() / kSubclusters
                               : header_.cluster_size();
}

absl::Status Qcow2Layer::ReadOnly() {
  return absl::InternalError("this qcow2 layer is not written to");
}

absl::Status Qcow2Layer::BadEntry(uint64_t l2_index, uint64_t word,
                                  uint64_t entry) const {
  return MakeError(
      EIO, absl::StrFormat(
               "%s: L2 entry %u (byte %u of the file) is 0x%x, expected %s; "
               "the image is damaged",
               file_.path(), l2_index, word * sizeof(uint64_t), entry,
               header_.has_data_file()
                   ? "an entry whose offset is that of its cluster in the disk"
                   : "an entry of this version with a cluster's offset"));
}

absl::StatusOr<bool> Qcow2Layer::CheckBad(
    uint64_t guest, uint64_t l2_word, absl::Span<const uint64_t> entry) const {
  std::array<uint64_t, 2> again;
  const auto words = absl::MakeSpan(again).first(entry.size());
  RETURN_IF_ERROR(pages_.Read(l2_word, words).status());
  for (uint64_t& word : words) word = SwapBytes(word);
  if (words != entry) return false;
  return BadEntry(tree_->geometry().L2Index(guest), l2_word, entry[0]);
}

Qcow2Layer::Unit Qcow2Layer::UnitOf(absl::Span<const uint64_t> entry,
                                    uint64_t guest) const {
  const uint64_t word = entry[0];
  const uint64_t cluster = RoundDown(guest, header_.cluster_size());
  Unit unit{KindOf(word, header_), (word & kOffsetMask) + (guest - cluster)};
  if (header_.extended_l2()) {
    unit.kind = SubclusterKindOf(
        unit.kind, entry[1],
        static_cast<uint32_t>((guest - cluster) * kSubclusters >>
                              header_.cluster_bits));
  }
  if (unit.kind == UnitKind::kData) {
    const uint64_t offset = word & kOffsetMask;
    const bool sound = header_.has_data_file()
                           ? offset == cluster
                           : IsAligned(offset, header_.cluster_size());
    if (!sound) unit.kind = UnitKind::kBad;
  }
  return unit;
}

Mapping Qcow2Layer::MappingOf(const Unit& unit, uint64_t guest,
                              uint64_t length) const {
  Mapping mapping{.kind = Mapping::Kind::kBacking, .length = length};
  if (unit.kind == UnitKind::kZero) {
    mapping.kind = Mapping::Kind::kZero;
  } else if (unit.kind == UnitKind::kCompressed) {
    mapping.kind = Mapping::Kind::kData;
    mapping.host_offset = guest;
    mapping.file = &*compressed_;
  } else if (unit.kind == UnitKind::kData) {
    const uint64_t data_end = data_end_.load(std::memory_order_acquire);
    if (unit.host_offset >= data_end) {
      mapping.kind = Mapping::Kind::kZero;
    } else {
      mapping.kind = Mapping::Kind::kData;
      mapping.host_offset = unit.host_offset;
      mapping.length = std::min(length, data_end - unit.host_offset);
    }
  }
  return mapping;
}

absl::StatusOr<bool> Qcow2Layer::Extend(uint64_t guest, uint64_t end,
                                        uint64_t l2_word,
                                        absl::Span<const uint64_t> entry,
                                        Mapping& run) const {
  const uint64_t unit_size = cluster_size();
  while (guest < end) {
    const uint64_t length =
        std::min(end, RoundDown(guest, unit_size) + unit_size) - guest;
    const Unit unit = UnitOf(entry, guest);
    if (unit.kind == UnitKind::kBad) {
      if (run.length != 0) return false;
      return CheckBad(guest, l2_word, entry);
    }
    const Mapping next = MappingOf(unit, guest, length);
    if (run.length == 0) {
      run = next;
    } else if (next.kind != run.kind || next.file != run.file ||
               (next.kind == Mapping::Kind::kData &&
                next.host_offset != run.host_offset + run.length)) {
      return false;
    } else {
      run.length += next.length;
    }
    if (next.length < length) return false;
    guest += length;
  }
  return true;
}

absl::StatusOr<Mapping> Qcow2Layer::MapTable(Extent extent,
                                             uint64_t table) const {
  const TableGeometry& geometry = tree_->geometry();
  const uint64_t words = header_.entry_words();
  const uint64_t first = geometry.L2Index(extent.offset);
  const uint64_t last =
      std::min(geometry.table_entries() - 1,
               first + (((extent.end() - 1) >> header_.cluster_bits) -
                        (extent.offset >> header_.cluster_bits)));
  Mapping run;
  std::array<uint64_t, kEntriesAtOnce> entries;
  for (uint64_t index = first; index <= last;) {
    const uint64_t word = geometry.L2Word(table, index);
    const size_t ask = static_cast<size_t>(
        std::min<uint64_t>(entries.size(), (last - index + 1) * words));
    // Tables are aligned, so a page ends between two entries.
    ASSIGN_OR_RETURN(const size_t count,
                     pages_.Read(word, absl::MakeSpan(entries).first(ask)));
    for (size_t i = 0; i < count; ++i) entries[i] = SwapBytes(entries[i]);
    for (size_t i = 0; i < count; i += words, ++index) {
      const uint64_t cluster =
          RoundDown(extent.offset, geometry.table_reach()) +
          (index << header_.cluster_bits);
      const uint64_t begin = std::max(extent.offset, cluster);
      const uint64_t end =
          std::min(extent.end(), cluster + header_.cluster_size());
      ASSIGN_OR_RETURN(
          const bool goes_on,
          Extend(begin, end, word + i,
                 absl::MakeConstSpan(entries).subspan(i, words), run));
      if (!goes_on) return run;
    }
  }
  return run;
}

absl::StatusOr<Mapping> Qcow2Layer::Map(Extent extent) const {
  ASSIGN_OR_RETURN(const uint64_t table, tree_->Find(extent.offset));
  if (table == 0) return tree_->MapUntabled(extent);
  while (true) {
    ASSIGN_OR_RETURN(const Mapping run, MapTable(extent, table));
    if (run.length != 0) return run;
  }
}

}  // namespace flatcow::qcow2
