// SPDX-License-Identifier: Apache-2.0
#include "format/qed/check.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "format/cluster_set.h"
#include "format/format_driver.h"
#include "format/qed/geometry.h"
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
        geometry_(header),
        file_end_(RoundDown(file_size, header.cluster_size)),
        repair_(repair),
        result_(result) {}

  absl::Status Run();

 private:
  struct Table {
    uint64_t l1_index;
    uint64_t offset;
  };

  // A table that can't be read is counted; a repair that fails ends the check.
  absl::Status Scan(absl::FunctionRef<absl::Status()> scan);
  absl::Status ScanL1(std::vector<Table>& tables);
  absl::Status ScanL2(const Table& table);
  // An entry at byte `at` of the file that maps guest bytes [guest, +length).
  absl::Status BadEntry(absl::string_view name, uint64_t index, uint64_t at,
                        uint64_t value, uint64_t guest, uint64_t length);
  bool AddClusters(uint64_t host_offset, uint64_t length);
  absl::Status FixLeaks();
  absl::Status ClearNeedCheck();

  // Guest offset of an L1 entry; entries past 2^63 reach nothing.
  uint64_t GuestOf(uint64_t l1_index) const {
    return CheckedMultiply(l1_index, geometry_.table_reach())
        .value_or(uint64_t{1} << 63);
  }

  File& file_;
  const Header header_;
  const Geometry geometry_;
  const uint64_t file_end_;
  const Repair repair_;
  CheckResult& result_;

  ClusterSet used_;
  bool repair_failed_ = false;
  uint64_t last_data_ = 0;  // the data cluster an entry saw last
};

bool Checker::AddClusters(uint64_t host_offset, uint64_t length) {
  const uint64_t cluster_size = geometry_.cluster_size();
  bool fresh = true;
  for (uint64_t at = host_offset; at < host_offset + length;
       at += cluster_size) {
    if (!used_.Add(at / cluster_size)) fresh = false;
  }
  return fresh;
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
  if (guest < header_.image_size && result_.changed.size() < kMaxProblems) {
    const uint64_t end = std::min(header_.image_size, guest + length);
    result_.changed.push_back(
        absl::StrCat("guest bytes ", guest, " to ", end - 1,
                     (header_.features & kFeatureBackingFile) != 0
                         ? " are the backing file's again"
                         : " read as zeroes now"));
  }
  return absl::OkStatus();
}

absl::Status Checker::ScanL1(std::vector<Table>& tables) {
  return ScanWords(
      file_, geometry_.l1_extent(), [&](uint64_t index, uint64_t offset) {
        const uint64_t at = geometry_.L1Word(index) * sizeof(uint64_t);
        if (!geometry_.IsPlace(offset, geometry_.table_bytes(), file_end_)) {
          return BadEntry("L1", index, at, offset, GuestOf(index),
                          geometry_.table_reach());
        }
        if (!AddClusters(offset, geometry_.table_bytes())) {
          ++result_.corruptions;
          AddProblem(result_,
                     absl::StrFormat("L1 entry %u names the L2 table at 0x%x, "
                                     "which another entry uses too",
                                     index, offset));
          return absl::OkStatus();
        }
        tables.push_back({index, offset});
        return absl::OkStatus();
      });
}

absl::Status Checker::ScanL2(const Table& table) {
  const uint64_t cluster_size = geometry_.cluster_size();
  return ScanWords(
      file_, {table.offset, geometry_.table_bytes()},
      [&](uint64_t index, uint64_t offset) {
        if (offset == kZeroCluster) return absl::OkStatus();
        const uint64_t at =
            Geometry::L2Word(table.offset, index) * sizeof(uint64_t);
        const uint64_t guest = GuestOf(table.l1_index) + index * cluster_size;
        if (!geometry_.IsPlace(offset, cluster_size, file_end_)) {
          return BadEntry("L2", index, at, offset, guest, cluster_size);
        }
        ++result_.allocated_clusters;
        if (last_data_ != 0 && offset != last_data_ + cluster_size) {
          ++result_.fragmented_clusters;
        }
        last_data_ = offset;
        if (!used_.Add(offset / cluster_size)) {
          ++result_.corruptions;
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

absl::Status Checker::FixLeaks() {
  const uint64_t cluster_size = geometry_.cluster_size();
  const uint64_t keep =
      std::max(used_.end() * cluster_size, geometry_.l1_extent().end());
  if (keep >= file_end_) return absl::OkStatus();
  RETURN_IF_ERROR(file_.Truncate(keep));
  RETURN_IF_ERROR(file_.Sync());
  const uint64_t fixed =
      std::min(result_.leaks, (file_end_ - keep) / cluster_size);
  result_.leaks_fixed += fixed;
  result_.leaks -= fixed;
  return absl::OkStatus();
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
  AddClusters(geometry_.l1_offset(), geometry_.table_bytes());
  std::vector<Table> tables;
  RETURN_IF_ERROR(Scan([&] { return ScanL1(tables); }));
  for (const Table& table : tables) {
    RETURN_IF_ERROR(Scan([&] { return ScanL2(table); }));
  }
  const uint64_t clusters = file_end_ / cluster_size;
  const uint64_t header_clusters = header_.header_size;
  // Everything in used_ lies behind the header and inside the file.
  result_.leaks = clusters - header_clusters - used_.count();
  if (result_.leaks != 0) {
    AddProblem(result_, absl::StrCat(result_.leaks,
                                     " clusters that no entry refers to"));
  }
  if (repair_ == Repair::kNone) return absl::OkStatus();
  if (result_.corruptions_fixed != 0) RETURN_IF_ERROR(file_.Sync());
  // Leaks beside damage may be what the damaged entry once named.
  if (result_.corruptions != 0 || result_.check_errors != 0) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(FixLeaks());
  return ClearNeedCheck();
}

}  // namespace

absl::Status Check(File& file, const Header& header, Repair repair,
                   CheckResult& result) {
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  return Checker(file, header, stat.size, repair, result).Run();
}

}  // namespace flatcow::qed
