// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/check.h"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "format/format_driver.h"
#include "format/qcow2/build_metadata.h"
#include "format/qcow2/l2_entry.h"
#include "format/qcow2/metadata_map.h"
#include "format/qcow2/refcounts.h"
#include "format/table_scan.h"

namespace flatcow::qcow2 {
namespace {

// One look through the image, which mends entries where it is told to. The
// refcounts are looked at as they were before.
class Scan {
 public:
  Scan(File& file, const Header& header, bool mend, CheckResult& result)
      : file_(file),
        header_(header),
        geometry_(GeometryOf(header)),
        mend_(mend),
        result_(result) {}

  absl::Status Run();

 private:
  absl::Status CheckL1();
  absl::Status CheckTable(const TableEntry& table);
  absl::Status CheckRefcounts();

  // Counts an entry as bad and writes `mended` over it when it is to be mended.
  absl::Status Bad(absl::string_view what, uint64_t index, uint64_t word,
                   uint64_t value, uint64_t mended, Extent guest);
  void CountCluster(uint64_t cluster, uint64_t count, uint64_t uses);

  File& file_;
  const Header& header_;
  const TableGeometry geometry_;
  const bool mend_;
  CheckResult& result_;
  MetadataMap map_;
};

absl::Status Scan::Bad(absl::string_view what, uint64_t index, uint64_t word,
                       uint64_t value, uint64_t mended, Extent guest) {
  ++result_.corruptions;
  const std::string text =
      absl::StrFormat("%s entry %u (byte %u of the file) is 0x%x", what, index,
                      word * sizeof(uint64_t), value);
  AddProblem(result_, text);
  if (!mend_) return absl::OkStatus();
  std::array<uint8_t, sizeof(uint64_t)> bytes;
  StoreBig64(bytes.data(), mended);
  const iovec piece{bytes.data(), bytes.size()};
  RETURN_IF_ERROR(
      file_.Write(word * sizeof(uint64_t), absl::MakeConstSpan(&piece, 1)));
  if (result_.changed.size() < kMaxProblems) {
    result_.changed.push_back(
        absl::StrFormat("%s: now 0x%x; bytes %u to %u of the disk", text,
                        mended, guest.offset, guest.end() - 1));
  }
  return absl::OkStatus();
}

absl::Status Scan::CheckL1() {
  const uint64_t reach = geometry_.table_reach();
  for (const uint64_t index : map_.bad) {
    RETURN_IF_ERROR(Bad("L1", index, geometry_.L1Word(index), map_.l1[index], 0,
                        {index * reach, reach}));
  }
  for (const TableEntry& table : map_.tables) {
    const uint64_t entry = map_.l1[table.l1_index];
    if ((entry & kEntryCopied) != 0) continue;
    RETURN_IF_ERROR(Bad("L1", table.l1_index, geometry_.L1Word(table.l1_index),
                        entry, entry | kEntryCopied,
                        {table.l1_index * reach, reach}));
  }
  return absl::OkStatus();
}

absl::Status Scan::CheckTable(const TableEntry& table) {
  const uint64_t words = header_.entry_words();
  const uint64_t begin = table.l1_index * geometry_.table_reach();
  uint64_t next = 0;  // where the last cluster ended
  std::array<uint64_t, 2> entry{};
  uint64_t entry_index = 0;
  const auto check_entry = [&]() -> absl::Status {
    if (entry[0] == 0 && entry[1] == 0) return absl::OkStatus();
    const uint64_t guest = begin + (entry_index << header_.cluster_bits);
    const uint64_t right =
        guest | kEntryCopied | (header_.extended_l2() ? 0 : entry[0] & 1);
    const UnitKind kind = KindOf(entry[0], header_);
    bool bad = kind == UnitKind::kBad;
    for (uint32_t i = 0; header_.extended_l2() && i < kSubclusters; ++i) {
      bad = bad || SubclusterKindOf(kind, entry[1], i) == UnitKind::kBad;
    }
    const bool has_place =
        kind == UnitKind::kData ||
        (kind == UnitKind::kZero && (entry[0] & kOffsetMask) != 0);
    if (has_place && !bad) {
      ++result_.allocated_clusters;
      if (next != 0 && next != (entry[0] & kOffsetMask)) {
        ++result_.fragmented_clusters;
      }
      next = (entry[0] & kOffsetMask) + header_.cluster_size();
      bad = (entry[0] & ~(kEntryZero)) != (guest | kEntryCopied);
    }
    if (!bad) return absl::OkStatus();
    const bool keeps = header_.data_file_raw() ||
                       (has_place && (entry[0] & kOffsetMask) == guest);
    const uint64_t word = geometry_.L2Word(table.offset, entry_index);
    const Extent extent{guest, header_.cluster_size()};
    if (header_.extended_l2() && mend_ && !(has_place && keeps)) {
      RETURN_IF_ERROR(Bad("L2", entry_index, word + 1, entry[1],
                          keeps ? kAllSubclusters : 0, extent));
      --result_.corruptions;
    }
    return Bad("L2", entry_index, word, entry[0], keeps ? right : 0, extent);
  };
  const absl::Status scanned =
      ScanWords(file_, {table.offset, geometry_.table_bytes()},
                [&](uint64_t index, uint64_t word) -> absl::Status {
                  if (index / words != entry_index) {
                    RETURN_IF_ERROR(check_entry());
                    entry = {};
                    entry_index = index / words;
                  }
                  entry[index % words] = SwapBytes(word);
                  return absl::OkStatus();
                });
  return scanned.ok() ? check_entry() : scanned;
}

void Scan::CountCluster(uint64_t cluster, uint64_t count, uint64_t uses) {
  if (count == uses && uses <= 1) return;
  if (count > uses) {
    ++result_.leaks;
  } else {
    ++result_.corruptions;
  }
  AddProblem(result_,
             absl::StrCat("cluster ", cluster, " of the file: refcount ", count,
                          ", expected ", uses));
}

absl::Status Scan::CheckRefcounts() {
  const std::vector<uint64_t> used = map_.UsedClusters(header_);
  ASSIGN_OR_RETURN(const FileStat stat, file_.Stat());
  const uint64_t clusters = DivideRoundingUp(stat.size, header_.cluster_size());
  auto next = used.begin();
  const auto take = [&] {
    const uint64_t cluster = *next;
    const auto behind = std::upper_bound(next, used.end(), cluster);
    const auto uses = static_cast<uint64_t>(behind - next);
    next = behind;
    return std::pair(cluster, uses);
  };
  RETURN_IF_ERROR(ScanRefcounts(
      file_, header_, map_, stat.size, [&](uint64_t cluster, uint64_t count) {
        // What counts for nothing in the file is no space that is lost.
        if (cluster >= clusters) return;
        while (next != used.end() && *next < cluster) {
          const auto [missing, uses] = take();
          CountCluster(missing, 0, uses);
        }
        const bool is_used = next != used.end() && *next == cluster;
        CountCluster(cluster, count, is_used ? take().second : 0);
      }));
  while (next != used.end()) {
    const auto [missing, uses] = take();
    CountCluster(missing, 0, uses);
  }
  result_.image_end_offset = (used.back() + 1) * header_.cluster_size();
  return absl::OkStatus();
}

absl::Status Scan::Run() {
  ASSIGN_OR_RETURN(const FileStat stat, file_.Stat());
  ASSIGN_OR_RETURN(map_, ReadMetadataMap(file_, header_, stat.size));
  result_.total_clusters =
      DivideRoundingUp(header_.size, header_.cluster_size());
  RETURN_IF_ERROR(CheckRefcounts());
  RETURN_IF_ERROR(CheckL1());
  for (const TableEntry& table : map_.tables) {
    RETURN_IF_ERROR(CheckTable(table));
  }
  return absl::OkStatus();
}

// All refcounts anew, and no bit that says that something is wrong.
absl::Status Rebuild(File& file, const Header& header) {
  Syncer syncer;
  RETURN_IF_ERROR(syncer.Sync(file));
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  ASSIGN_OR_RETURN(MetadataMap map, ReadMetadataMap(file, header, stat.size));
  ASSIGN_OR_RETURN(Header built, BuildMetadata(file, header, std::move(map),
                                               header.size, syncer));
  built.incompatible &= ~(kIncompatibleDirty | kIncompatibleCorrupt);
  return WriteHeaderFields(file, header, built, syncer);
}

}  // namespace

absl::Status Check(File& file, const Header& header, Repair repair,
                   CheckResult& result) {
  CheckResult found = result;
  Scan scan(file, header, repair == Repair::kAll, found);
  RETURN_IF_ERROR(scan.Run());
  const bool marked =
      (header.incompatible & (kIncompatibleDirty | kIncompatibleCorrupt)) != 0;
  const bool mends_all =
      repair == Repair::kAll && (found.corruptions != 0 || marked);
  const bool mends_leaks = repair != Repair::kNone && found.leaks != 0 &&
                           (repair == Repair::kAll || found.corruptions == 0);
  if (!mends_all && !mends_leaks) {
    result = std::move(found);
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(Rebuild(file, header));
  CheckResult left = result;
  left.changed = std::move(found.changed);
  ASSIGN_OR_RETURN(const Header now, LoadHeader(file));
  RETURN_IF_ERROR(Scan(file, now, /*mend=*/false, left).Run());
  left.corruptions_fixed =
      found.corruptions - std::min(found.corruptions, left.corruptions);
  left.leaks_fixed = found.leaks - std::min(found.leaks, left.leaks);
  result = std::move(left);
  return absl::OkStatus();
}

}  // namespace flatcow::qcow2
