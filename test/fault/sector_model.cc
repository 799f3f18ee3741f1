// SPDX-License-Identifier: Apache-2.0
#include "fault/sector_model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/checked_math.h"

namespace flatcow {
namespace {

constexpr uint64_t kSectorBytes = 512;

// A sector of the disk; past its end it is all zero.
std::string SectorOf(absl::Span<const uint8_t> content, uint64_t offset) {
  std::string sector(kSectorBytes, '\0');
  const uint64_t length =
      std::min<uint64_t>(kSectorBytes, content.size() - offset);
  std::copy_n(content.begin() + static_cast<ptrdiff_t>(offset), length,
              sector.begin());
  return sector;
}

}  // namespace

SectorModel::SectorModel(const std::vector<uint8_t>& content)
    : sizes_{content.size()} {
  for (uint64_t at = 0; at < content.size(); at += kSectorBytes) {
    const std::string sector = SectorOf(content, at);
    sectors_.push_back({.now = {sector}, .since_flush = {sector}});
  }
}

SectorModel::Sector& SectorModel::SectorAt(uint64_t offset) {
  const size_t index = offset / kSectorBytes;
  const std::string zeroes(kSectorBytes, '\0');
  while (sectors_.size() <= index) {
    sectors_.push_back({.now = {zeroes}, .since_flush = {zeroes}});
  }
  return sectors_[index];
}

void SectorModel::Change(const DiskRequest& request, bool keep_old) {
  if (request.kind == DiskRequest::Kind::kGrow) {
    if (!keep_old) sizes_.clear();
    sizes_.insert(request.size);
    return;
  }
  if (request.kind != DiskRequest::Kind::kWrite &&
      request.kind != DiskRequest::Kind::kZero) {
    return;
  }
  const Extent extent = request.extent;
  std::vector<uint8_t> data(extent.length, 0);
  if (request.kind == DiskRequest::Kind::kWrite) {
    data = Pattern(request.tag, extent.length);
  }
  for (uint64_t at = RoundDown(extent.offset, kSectorBytes); at < extent.end();
       at += kSectorBytes) {
    const uint64_t begin = std::max(at, extent.offset);
    const uint64_t end = std::min(at + kSectorBytes, extent.end());
    Sector& sector = SectorAt(at);
    Contents changed;
    for (std::string content : sector.now) {
      std::copy_n(data.begin() + static_cast<ptrdiff_t>(begin - extent.offset),
                  end - begin,
                  content.begin() + static_cast<ptrdiff_t>(begin - at));
      changed.insert(std::move(content));
    }
    sector.since_flush.insert(changed.begin(), changed.end());
    if (!keep_old) sector.now.clear();
    sector.now.insert(changed.begin(), changed.end());
  }
}

void SectorModel::Succeeded(const DiskRequest& request) {
  Change(request, /*keep_old=*/false);
}

void SectorModel::Failed(const DiskRequest& request) {
  Change(request, /*keep_old=*/true);
}

void SectorModel::Flushed() {
  for (Sector& sector : sectors_) sector.since_flush = sector.now;
}

void SectorModel::LoseUnflushed() {
  for (Sector& sector : sectors_) sector.now = sector.since_flush;
}

std::string SectorModel::Observe(absl::Span<const uint8_t> content,
                                 bool changes) {
  if (!MayHaveSize(content.size())) {
    return absl::StrCat("the size of the disk is ", content.size());
  }
  if (!changes) sizes_ = {content.size()};
  for (uint64_t at = 0; at < content.size(); at += kSectorBytes) {
    std::string got = SectorOf(content, at);
    Sector& sector = SectorAt(at);
    if (sector.now.count(got) == 0) {
      const std::string& expected = *sector.now.begin();
      const auto wrong =
          std::mismatch(got.begin(), got.end(), expected.begin());
      return absl::StrCat(
          "the sector at ", at, " shows none of the ", sector.now.size(),
          " contents that it may have; byte ", wrong.first - got.begin(),
          " is ", int{static_cast<uint8_t>(*wrong.first)}, ", in one of them ",
          int{static_cast<uint8_t>(*wrong.second)});
    }
    if (!changes) sector.now = {std::move(got)};
  }
  return "";
}

}  // namespace flatcow
