// SPDX-License-Identifier: Apache-2.0
#include "format/qed/check.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/cluster_set.h"
#include "format/format_driver.h"
#include "format/qed/geometry.h"
#include "format/table_overlap.h"
#include "format/table_scan.h"

namespace flatcow::qed {
namespace {

absl::Status WriteWord(File& file, uint64_t offset, uint64_t value) {
  std::array<uint8_t, sizeof(uint64_t)> bytes;
  StoreLittle64(bytes.data(), value);
  const iovec piece{bytes.data(), bytes.size()};
  return file.Write(offset, absl::MakeConstSpan(&piece, 1));
}

class Checker {
 public:
  Checker(File& file, const Header& header, uint64_t file_size, Repair repair,
          CheckResult& result)
      : file_(file),
        header_(header),
        geometry_(GeometryOf(header)),
        file_size_(file_size),
        file_end_(RoundDown(file_size, header.cluster_size)),
        end_(file_end_),
        repair_(repair),
        result_(result) {}

  absl::Status Run();

 private:
  // A table that can't be read is counted; a repair that fails ends the check.
  absl::Status Scan(absl::FunctionRef<absl::Status()> scan);
  // The tables that entries name, in order of their L1 index.
  absl::Status ScanL1(std::vector<TableEntry>& tables);
  // Those that the disk reaches; tables that overlap go to `shared`.
  void TakeTables(std::vector<TableEntry>& tables,
                  std::vector<TableEntry>& shared);
  // One that the disk doesn't reach must not be in the way of the others.
  absl::Status TakeTablePastTheEnd(const TableEntry& table,
                                   std::vector<TableEntry>& tables);
  absl::Status ScanL2(const TableEntry& table);
  absl::Status ScanTable(const TableEntry& table) {
    return Scan([&] { return ScanL2(table); });
  }
  // An entry at byte `at` of the file that maps guest bytes [guest, +length).
  absl::Status BadEntry(absl::string_view name, uint64_t index, uint64_t at,
                        uint64_t value, uint64_t guest, uint64_t length);
  absl::Status BadL1Entry(const TableEntry& entry);
  void AddChanged(uint64_t guest, uint64_t length);
  void ListChanges();
  void AddTable(uint64_t host_offset);

  // Repairs, each durable on return.
  absl::Status UnshareTables(std::vector<TableEntry>& tables,
                             std::vector<TableEntry> shared);
  absl::Status UnshareClusters(const std::vector<TableEntry>& tables);
  absl::Status UnshareClustersOf(const TableEntry& table);
  // Return values: where the copy is, behind everything else.
  absl::StatusOr<uint64_t> CopyToEnd(uint64_t host_offset, uint64_t length);
  absl::Status CutTail();
  void CountLeaks();
  absl::Status ClearNeedCheck();

  // Guest offset of an L1 entry; entries past 2^63 reach nothing.
  uint64_t GuestOf(uint64_t l1_index) const {
    return CheckedMultiply(l1_index, geometry_.table_reach())
        .value_or(uint64_t{1} << 63);
  }

  File& file_;
  const Header header_;
  const TableGeometry geometry_;
  const uint64_t file_size_;
  const uint64_t file_end_;  // in whole clusters
  uint64_t end_;             // the same after repairs
  const Repair repair_;
  CheckResult& result_;

  ClusterSet table_clusters_;
  ClusterSet data_clusters_;
  uint64_t shared_clusters_ = 0;
  bool repair_failed_ = false;
  std::vector<Extent> changed_;  // guest ranges whose entries were dropped
  uint64_t unlisted_changes_ = 0;
  uint64_t last_data_ = 0;  // the data cluster an entry saw last
};

void Checker::AddTable(uint64_t host_offset) {
  const uint64_t cluster_size = geometry_.cluster_size();
  for (uint64_t at = host_offset; at < host_offset + geometry_.table_bytes();
       at += cluster_size) {
    table_clusters_.Add(at / cluster_size);
  }
}

absl::Status Checker::BadEntry(absl::string_view name, uint64_t index,
                               uint64_t at, uint64_t value, uint64_t guest,
                               uint64_t length) {
  AddProblem(result_,
             absl::StrFormat("%s entry %u (byte %u of the file) is 0x%x, which "
                             "is not a free place in the file",
                             name, index, at, value));
  if (repair_ != Repair::kAll) {
    ++result_.corruptions;
    return absl::OkStatus();
  }
  if (const absl::Status status = WriteWord(file_, at, kUnallocated);
      !status.ok()) {
    repair_failed_ = true;
    return status;
  }
  ++result_.corruptions_fixed;
  AddChanged(guest, length);
  return absl::OkStatus();
}

void Checker::AddChanged(uint64_t guest, uint64_t length) {
  if (guest >= header_.image_size) return;
  length = std::min(length, header_.image_size - guest);
  if (!changed_.empty() && changed_.back().end() == guest) {
    changed_.back().length += length;
  } else if (changed_.size() < kMaxProblems) {
    changed_.push_back({guest, length});
  } else {
    ++unlisted_changes_;
  }
}

void Checker::ListChanges() {
  std::sort(
      changed_.begin(), changed_.end(),
      [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
  for (const Extent& range : changed_) {
    result_.changed.push_back(
        absl::StrCat("guest bytes ", range.offset, " to ", range.end() - 1,
                     (header_.features & kFeatureBackingFile) != 0
                         ? " are the backing file's again"
                         : " read as zeroes now"));
  }
  if (unlisted_changes_ != 0) {
    result_.changed.push_back(absl::StrCat(
        "the same is true for ", unlisted_changes_, " more guest ranges"));
  }
}

absl::Status Checker::ScanL1(std::vector<TableEntry>& tables) {
  return ScanWords(
      file_, geometry_.l1_extent(), [&](uint64_t index, uint64_t offset) {
        if (!geometry_.IsPlace(offset, geometry_.table_bytes(), file_end_)) {
          return BadL1Entry({index, offset});
        }
        tables.push_back({index, offset});
        return absl::OkStatus();
      });
}

absl::Status Checker::BadL1Entry(const TableEntry& entry) {
  return BadEntry(
      "L1", entry.l1_index, geometry_.L1Word(entry.l1_index) * sizeof(uint64_t),
      entry.offset, GuestOf(entry.l1_index), geometry_.table_reach());
}

void Checker::TakeTables(std::vector<TableEntry>& tables,
                         std::vector<TableEntry>& shared) {
  shared = TakeOverlapping(tables, geometry_.table_bytes());
  for (const TableEntry& table : tables) AddTable(table.offset);
  for (const TableEntry& table : shared) {
    ++result_.corruptions;
    AddProblem(result_,
               absl::StrFormat("L1 entry %u names the L2 table at 0x%x, "
                               "which another entry uses too",
                               table.l1_index, table.offset));
  }
}

absl::Status Checker::TakeTablePastTheEnd(const TableEntry& table,
                                          std::vector<TableEntry>& tables) {
  const uint64_t first = table.offset / geometry_.cluster_size();
  for (uint64_t i = 0; i < header_.table_size; ++i) {
    if (table_clusters_.Contains(first + i) ||
        data_clusters_.Contains(first + i)) {
      return BadL1Entry(table);
    }
  }
  AddTable(table.offset);
  tables.push_back(table);
  return ScanTable(table);
}

absl::Status Checker::ScanL2(const TableEntry& table) {
  const uint64_t cluster_size = geometry_.cluster_size();
  const int cluster_bits = std::countr_zero(cluster_size);
  const uint64_t first_guest = GuestOf(table.l1_index);
  return ScanWords(
      file_, {table.offset, geometry_.table_bytes()},
      [&](uint64_t index, uint64_t offset) {
        if (offset == kZeroCluster) return absl::OkStatus();
        const uint64_t cluster = offset >> cluster_bits;
        const uint64_t at =
            geometry_.L2Word(table.offset, index) * sizeof(uint64_t);
        const uint64_t guest = first_guest + index * cluster_size;
        if (!geometry_.IsPlace(offset, cluster_size, file_end_) ||
            table_clusters_.Contains(cluster)) {
          return BadEntry("L2", index, at, offset, guest, cluster_size);
        }
        ++result_.allocated_clusters;
        if (last_data_ != 0 && offset != last_data_ + cluster_size) {
          ++result_.fragmented_clusters;
        }
        last_data_ = offset;
        if (!data_clusters_.Add(cluster)) {
          ++result_.corruptions;
          ++shared_clusters_;
          AddProblem(result_,
                     absl::StrFormat("L2 entry for guest offset %u names the "
                                     "cluster at 0x%x, which is in use already",
                                     guest, offset));
        }
        return absl::OkStatus();
      });
}

absl::Status Checker::Scan(absl::FunctionRef<absl::Status()> scan) {
  const absl::Status status = scan();
  if (status.ok() || repair_failed_) return status;
  ++result_.check_errors;
  AddProblem(result_, std::string(status.message()));
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Checker::CopyToEnd(uint64_t host_offset,
                                            uint64_t length) {
  constexpr uint64_t kCopyBytes = 1 << 20;
  const uint64_t copy = end_;
  std::vector<uint8_t> buffer(std::min(length, kCopyBytes));
  for (uint64_t done = 0; done < length; done += buffer.size()) {
    ASSIGN_OR_RETURN(const size_t got,
                     file_.Read(host_offset + done, absl::MakeSpan(buffer)));
    if (got < buffer.size()) {
      return MakeError(EIO, absl::StrCat(file_.path(), ": ends at ",
                                         host_offset + done + got,
                                         ": it was cut while in use"));
    }
    const iovec piece{buffer.data(), buffer.size()};
    RETURN_IF_ERROR(file_.Write(copy + done, absl::MakeConstSpan(&piece, 1)));
  }
  end_ += length;
  return copy;
}

// Bad L1 entries have been dropped, durably: none can name the copies.
absl::Status Checker::UnshareTables(std::vector<TableEntry>& tables,
                                    std::vector<TableEntry> shared) {
  if (shared.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(file_.Sync());
  for (TableEntry& table : shared) {
    ASSIGN_OR_RETURN(table.offset,
                     CopyToEnd(table.offset, geometry_.table_bytes()));
  }
  RETURN_IF_ERROR(file_.Sync());
  for (const TableEntry& table : shared) {
    RETURN_IF_ERROR(
        WriteWord(file_, geometry_.L1Word(table.l1_index) * sizeof(uint64_t),
                  table.offset));
    AddTable(table.offset);
    tables.push_back(table);
    --result_.corruptions;
    ++result_.corruptions_fixed;
  }
  return file_.Sync();
}

// Bad L2 entries have been dropped, durably: none can name the copies.
absl::Status Checker::UnshareClusters(const std::vector<TableEntry>& tables) {
  if (shared_clusters_ == 0) return absl::OkStatus();
  RETURN_IF_ERROR(file_.Sync());
  // An interrupted repair may have left copies there.
  RETURN_IF_ERROR(CutTail());
  data_clusters_ = ClusterSet();
  for (const TableEntry& table : tables) {
    RETURN_IF_ERROR(UnshareClustersOf(table));
  }
  return absl::OkStatus();
}

absl::Status Checker::UnshareClustersOf(const TableEntry& table) {
  const uint64_t cluster_size = geometry_.cluster_size();
  std::vector<std::pair<uint64_t, uint64_t>> copies;  // L2 index, host offset
  RETURN_IF_ERROR(ScanWords(
      file_, {table.offset, geometry_.table_bytes()},
      [&](uint64_t index, uint64_t offset) -> absl::Status {
        if (offset == kZeroCluster) return absl::OkStatus();
        if (data_clusters_.Add(offset / cluster_size)) return absl::OkStatus();
        ASSIGN_OR_RETURN(const uint64_t copy, CopyToEnd(offset, cluster_size));
        data_clusters_.Add(copy / cluster_size);
        copies.emplace_back(index, copy);
        return absl::OkStatus();
      }));
  if (copies.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(file_.Sync());
  for (const auto& [index, copy] : copies) {
    RETURN_IF_ERROR(WriteWord(
        file_, geometry_.L2Word(table.offset, index) * sizeof(uint64_t), copy));
    --result_.corruptions;
    ++result_.corruptions_fixed;
  }
  return file_.Sync();
}

// What nothing refers to at the end of the file.
absl::Status Checker::CutTail() {
  const uint64_t cluster_size = geometry_.cluster_size();
  const uint64_t used =
      std::max(table_clusters_.end(), data_clusters_.end()) * cluster_size;
  const uint64_t keep = std::max(used, geometry_.l1_extent().end());
  // A part of a cluster at the end goes too; QEMU may take it for a whole one.
  if (keep >= std::max(end_, file_size_)) return absl::OkStatus();
  RETURN_IF_ERROR(file_.Truncate(keep));
  RETURN_IF_ERROR(file_.Sync());
  result_.leaks_fixed += (end_ - keep) / cluster_size;
  end_ = keep;
  return absl::OkStatus();
}

void Checker::CountLeaks() {
  // Everything that is used lies behind the header and inside the file.
  result_.leaks = end_ / geometry_.cluster_size() - header_.header_size -
                  table_clusters_.count() - data_clusters_.count();
}

absl::Status Checker::ClearNeedCheck() {
  if ((header_.features & kFeatureNeedCheck) == 0) return absl::OkStatus();
  RETURN_IF_ERROR(
      WriteWord(file_, kFeaturesOffset, header_.features & ~kFeatureNeedCheck));
  return file_.Sync();
}

absl::Status Checker::Run() {
  const uint64_t cluster_size = geometry_.cluster_size();
  result_.total_clusters = DivideRoundingUp(header_.image_size, cluster_size);
  AddTable(geometry_.l1_extent().offset);
  std::vector<TableEntry> tables;
  std::vector<TableEntry> shared;
  RETURN_IF_ERROR(Scan([&] { return ScanL1(tables); }));
  const auto reached = std::partition_point(
      tables.begin(), tables.end(),
      [&](const auto& t) { return GuestOf(t.l1_index) < header_.image_size; });
  const std::vector<TableEntry> past_the_end(reached, tables.end());
  tables.erase(reached, tables.end());
  TakeTables(tables, shared);
  if (repair_ == Repair::kAll && result_.check_errors == 0) {
    RETURN_IF_ERROR(UnshareTables(tables, std::move(shared)));
  }
  for (const TableEntry& table : tables) RETURN_IF_ERROR(ScanTable(table));
  for (const TableEntry& table : past_the_end) {
    RETURN_IF_ERROR(TakeTablePastTheEnd(table, tables));
  }
  if (repair_ == Repair::kAll && result_.check_errors == 0) {
    RETURN_IF_ERROR(UnshareClusters(tables));
  }
  CountLeaks();
  if (result_.leaks != 0) {
    AddProblem(result_, absl::StrCat(result_.leaks,
                                     " clusters that no entry refers to"));
  }
  if (repair_ == Repair::kNone) return absl::OkStatus();
  ListChanges();
  if (result_.corruptions_fixed != 0) RETURN_IF_ERROR(file_.Sync());
  // Leaks beside damage may be what the damaged entry once named.
  if (result_.corruptions != 0 || result_.check_errors != 0) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(CutTail());
  CountLeaks();
  return ClearNeedCheck();
}

}  // namespace

absl::Status Check(File& file, const Header& header, Repair repair,
                   CheckResult& result) {
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  return Checker(file, header, stat.size, repair, result).Run();
}

}  // namespace flatcow::qed
