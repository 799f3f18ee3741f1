// SPDX-License-Identifier: Apache-2.0
#include "fuzz/repair_check.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fuzz/fuzz_target.h"

namespace flatcow {
namespace {

// Nothing when the image does not open.
std::optional<SeenPieces> OpenAndRead(FileSystem& files,
                                      const std::string& path) {
  OpenOptions options;
  options.metadata_cache = NewMetadataCache(1);
  const auto image = OpenImage(files, path, options);
  RequireClear(image.status());
  if (!image.ok()) return std::nullopt;
  return ReadPieces(**image);
}

void RequireKept(const std::optional<SeenPieces>& before,
                 const std::optional<SeenPieces>& after,
                 const CheckResult& result) {
  if (!before.has_value()) return;
  if (!after.has_value()) FuzzFinding("a repaired image does not open");
  if (before->size() != after->size()) {
    FuzzFinding("repair changes the size of the disk");
  }
  for (size_t i = 0; i < before->size(); ++i) {
    const auto& old = (*before)[i];
    if (!old.has_value() || (*after)[i] == old) continue;
    if (!(*after)[i].has_value()) {
      FuzzFinding(
          absl::StrCat("repair makes byte ", i * kSeenPiece, " unreadable"));
    }
    if (result.changed.empty()) {
      FuzzFinding(absl::StrCat("repair changes what is at byte ",
                               i * kSeenPiece, " and does not say so"));
    }
  }
}

}  // namespace

SeenPieces ReadPieces(Image& image) {
  const uint64_t size = std::min(image.Size(), kSeenBytes);
  SeenPieces pieces;
  for (uint64_t at = 0; at < size; at += kSeenPiece) {
    std::string piece(std::min(kSeenPiece, size - at), '\xa5');
    const auto done = image.Read(
        at,
        absl::MakeSpan(reinterpret_cast<uint8_t*>(piece.data()), piece.size()));
    RequireClear(done.status());
    if (done.ok() && *done != piece.size()) FuzzFinding("a short read");
    pieces.push_back(done.ok() ? std::optional(std::move(piece))
                               : std::nullopt);
  }
  return pieces;
}

bool IsClean(const CheckResult& result) {
  return result.corruptions + result.leaks + result.check_errors == 0;
}

std::optional<CheckResult> CheckAndCompare(FileSystem& files,
                                           const std::string& path,
                                           Repair repair) {
  CheckOptions options;
  options.repair = repair;
  const auto before = OpenAndRead(files, path);
  const auto result = CheckImage(files, path, options);
  RequireClear(result.status());
  const auto after = OpenAndRead(files, path);
  RequireKept(before, after, result.ok() ? *result : CheckResult());
  if (!result.ok()) return std::nullopt;
  if (repair != Repair::kAll && !result->changed.empty()) {
    FuzzFinding(absl::StrCat("a repair of leaks changes: ",
                             absl::StrJoin(result->changed, "; ")));
  }
  if (repair == Repair::kAll && result->check_errors == 0) {
    const auto again = CheckImage(files, path, options);
    RequireClear(again.status());
    if (again.ok() && (again->corruptions_fixed != 0 ||
                       again->corruptions > result->corruptions)) {
      FuzzFinding("a second repair finds more to do");
    }
  }
  return *result;
}

}  // namespace flatcow
