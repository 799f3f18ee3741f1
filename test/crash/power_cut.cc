// SPDX-License-Identifier: Apache-2.0
#include "crash/power_cut.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <set>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "crash/disk_change.h"

namespace flatcow {
namespace {

constexpr uint64_t kPage = 4096;
constexpr DiskPart kNothing{.data = false, .size = false};

class PowerCuts {
 public:
  PowerCuts(const MemoryFileSystem& before,
            absl::FunctionRef<void(const CrashState&)> visit)
      : page_cache_(before.Snapshot()),
        durable_(before.Snapshot()),
        visit_(visit) {}

  // The next operation has begun.
  void Add(const FileOperation& operation);
  // Every state that a power cut may leave now.
  void VisitAll();

 private:
  // What became of each pending operation.
  using Parts = std::vector<DiskPart>;
  using Text = absl::FunctionRef<std::string()>;

  void Sync(const std::string& path);
  void Visit(const Parts& parts, Text describe);
  void VisitSubsets();
  void VisitFiles();
  void VisitSwapped();
  void VisitTorn(size_t torn, uint64_t at);
  void VisitNewestTorn();

  Parts All() const { return Parts(pending_.size()); }
  Parts None() const { return Parts(pending_.size(), kNothing); }
  std::vector<size_t> InOrder() const {
    std::vector<size_t> order(pending_.size());
    std::iota(order.begin(), order.end(), 0);
    return order;
  }
  std::string Name(size_t index) const {
    std::ostringstream name;
    name << pending_[index].operation();
    return name.str();
  }

  std::unique_ptr<MemoryFileSystem> page_cache_;
  std::unique_ptr<MemoryFileSystem> durable_;
  const absl::FunctionRef<void(const CrashState&)> visit_;
  std::vector<DiskChange> pending_;  // begun and not durable
  std::vector<size_t> order_;        // in which they reach the disk
  bool newest_is_pending_ = false;
  size_t operations_ = 0;
  uint64_t number_ = 0;
};

void PowerCuts::Add(const FileOperation& operation) {
  ++operations_;
  newest_is_pending_ = false;
  if (operation.error != 0) return;
  if (operation.kind == FileOperation::Kind::kSync) {
    return Sync(operation.path);
  }
  pending_.emplace_back(operation, *page_cache_);
  newest_is_pending_ = true;
}

void PowerCuts::Sync(const std::string& path) {
  std::vector<DiskChange> rest;
  for (DiskChange& change : pending_) {
    if (change.path() != path) {
      rest.push_back(std::move(change));
      continue;
    }
    // A name that is durable says that there is a file, not what it holds.
    const std::string old_path = change.old_path();
    for (size_t k = 0; !old_path.empty() && k < rest.size();) {
      if (rest[k].path() == old_path &&
          rest[k].operation().kind == FileOperation::Kind::kCreate) {
        rest[k].Apply({}, *durable_);
        rest.erase(rest.begin() + static_cast<ptrdiff_t>(k));
      } else {
        ++k;
      }
    }
    change.Apply({}, *durable_);
    for (DiskChange& earlier : rest) {
      if (earlier.path() == old_path) earlier.Rename(path);
    }
  }
  pending_ = std::move(rest);
}

void PowerCuts::Visit(const Parts& parts, Text describe) {
  const auto disk = durable_->Snapshot();
  std::set<std::string> cut_off;
  for (const size_t i : order_) {
    const DiskChange& change = pending_[i];
    if (cut_off.contains(change.path())) continue;
    if ((change.is_barrier() && !parts[i].size) ||
        cut_off.contains(change.old_path())) {
      cut_off.insert(change.path());
    } else {
      change.Apply(parts[i], *disk);
    }
  }
  visit_({operations_, number_++, describe, *disk});
}

void PowerCuts::VisitSubsets() {
  Visit(All(), [] { return std::string("everything written"); });
  if (pending_.empty()) return;
  Visit(None(), [] { return std::string("only what was synced"); });
  const size_t newest = pending_.size() - 1;
  for (size_t i = 0; i <= newest; ++i) {
    Parts parts = All();
    parts[i] = kNothing;
    Visit(parts, [&] { return absl::StrCat("all but ", Name(i)); });
    if (newest_is_pending_ && i != newest) {
      parts[newest] = kNothing;
      Visit(parts, [&] {
        return absl::StrCat("all but ", Name(i), " and ", Name(newest));
      });
    }
    parts = None();
    parts[i] = {};
    Visit(parts, [&] { return absl::StrCat("nothing but ", Name(i)); });
  }
}

// Each file for itself: as if synced, lost, or with its size lost.
void PowerCuts::VisitFiles() {
  std::set<std::string> paths;
  for (const DiskChange& change : pending_) paths.insert(change.path());
  for (const std::string& path : paths) {
    Parts alone = None();
    Parts sizeless = All();
    for (size_t i = 0; i < pending_.size(); ++i) {
      if (pending_[i].path() != path) continue;
      alone[i] = {};
      if (!pending_[i].is_barrier()) sizeless[i].size = false;
    }
    Visit(alone, [&] { return absl::StrCat("nothing but ", path); });
    Visit(sizeless, [&] { return absl::StrCat("all but sizes of ", path); });
  }
}

// The newest operation reached the disk before an older one that it overlaps.
void PowerCuts::VisitSwapped() {
  const size_t newest = pending_.size() - 1;
  const DiskChange& change = pending_[newest];
  for (size_t i = 0; i < newest; ++i) {
    const Extent old = pending_[i].sectors();
    if (pending_[i].path() != change.path() ||
        !Overlaps(old.offset, old.length, change.sectors().offset,
                  change.sectors().length)) {
      continue;
    }
    order_ = InOrder();
    std::rotate(order_.begin() + static_cast<ptrdiff_t>(i), order_.end() - 1,
                order_.end());
    Visit(All(),
          [&] { return absl::StrCat(Name(newest), " before ", Name(i)); });
  }
  order_ = InOrder();
}

void PowerCuts::VisitTorn(size_t torn, uint64_t at) {
  Parts parts = All();
  parts[torn].to = at;
  Visit(parts,
        [&] { return absl::StrCat(Name(torn), " only up to byte ", at); });
  parts = All();
  parts[torn].from = at;
  Visit(parts,
        [&] { return absl::StrCat(Name(torn), " only from byte ", at); });
}

void PowerCuts::VisitNewestTorn() {
  const size_t newest = pending_.size() - 1;
  const Extent sectors = pending_[newest].sectors();
  if (pending_[newest].extends() && sectors.length != 0) {
    Parts parts = All();
    parts[newest].data = false;
    Visit(parts,
          [&] { return absl::StrCat("only the size of ", Name(newest)); });
  }
  std::set<uint64_t> places;
  const uint64_t step = sectors.length > kPage ? kPage : kDiskSector;
  for (uint64_t at = RoundUp(sectors.offset + 1, step); at < sectors.end();
       at += step) {
    places.insert(at);
  }
  if (sectors.length > kPage) {
    places.insert(sectors.offset + kDiskSector);
    places.insert(RoundDown(sectors.end() - 1, kDiskSector));
  }
  for (const uint64_t at : places) VisitTorn(newest, at);
}

void PowerCuts::VisitAll() {
  order_ = InOrder();
  VisitSubsets();
  if (pending_.empty()) return;
  VisitFiles();
  if (!newest_is_pending_) return;
  VisitSwapped();
  VisitNewestTorn();
  for (size_t i = 0; i + 1 < pending_.size(); ++i) {
    const Extent sectors = pending_[i].sectors();
    const uint64_t middle =
        RoundUp(sectors.offset + sectors.length / 2, kDiskSector);
    if (middle < sectors.end()) VisitTorn(i, middle);
  }
}

}  // namespace

void EachCrashState(const MemoryFileSystem& before,
                    const std::vector<FileOperation>& operations,
                    absl::FunctionRef<bool(size_t operations)> wants,
                    absl::FunctionRef<void(const CrashState&)> visit) {
  PowerCuts cuts(before, visit);
  if (wants(0)) cuts.VisitAll();
  for (size_t i = 0; i < operations.size(); ++i) {
    cuts.Add(operations[i]);
    if (wants(i + 1)) cuts.VisitAll();
  }
}

}  // namespace flatcow
