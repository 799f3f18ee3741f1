// SPDX-License-Identifier: Apache-2.0
#include "crash/promise.h"

#include <algorithm>
#include <cstddef>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "crash/disk_change.h"
#include "model/disk_model.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

using Kind = DiskRequest::Kind;

}  // namespace

Promise::Promise(const std::vector<uint8_t>& content)
    : covered_(Padded({content.begin(), content.end()})),
      size_(content.size()),
      new_size_(content.size()) {}

std::string Promise::Padded(std::string content) {
  content.resize(RoundUp(content.size(), kDiskSector), '\0');
  return content;
}

absl::string_view Promise::Newest(uint64_t sector) const {
  const auto found = later_.find(sector);
  if (found != later_.end()) return found->second.back();
  return absl::string_view(covered_).substr(sector * kDiskSector, kDiskSector);
}

void Promise::AddVersions(uint64_t offset, absl::string_view bytes) {
  while (!bytes.empty()) {
    const uint64_t sector = offset / kDiskSector;
    const uint64_t start = offset % kDiskSector;
    const uint64_t count = std::min(bytes.size(), kDiskSector - start);
    Sector version(Newest(sector));
    Overwrite(version, start, bytes.substr(0, count));
    later_[sector].push_back(std::move(version));
    offset += count;
    bytes.remove_prefix(count);
  }
}

void Promise::Begin(const DiskRequest& request) {
  fingerprint_ = absl::HashOf(fingerprint_, Describe({request}), request.tag);
  if (request.kind == Kind::kWrite) {
    AddVersions(request.extent.offset,
                PatternText(request.tag, request.extent.length));
  } else if (request.kind == Kind::kZero) {
    AddVersions(request.extent.offset,
                std::string(request.extent.length, '\0'));
  } else if (request.kind == Kind::kGrow) {
    new_size_ = request.size;
    covered_.resize(RoundUp(new_size_, kDiskSector), '\0');
  }
}

void Promise::End(const DiskRequest& request) {
  fingerprint_ = absl::HashOf(fingerprint_, absl::string_view("returned"));
  if (request.kind == Kind::kGrow) size_ = new_size_;
  if (request.kind != Kind::kFlush) return;
  for (const auto& [sector, versions] : later_) {
    Overwrite(covered_, sector * kDiskSector, versions.back());
  }
  later_.clear();
}

std::string Promise::Observe(absl::string_view content) {
  fingerprint_ = absl::HashOf(fingerprint_, absl::string_view("killed"));
  std::string failure = Check(content);
  if (!failure.empty()) return failure;
  const std::string padded = Padded(std::string(content));
  for (auto& [sector, versions] : later_) {
    versions.emplace_back(padded.substr(sector * kDiskSector, kDiskSector));
  }
  return "";
}

bool Promise::Allows(uint64_t sector, absl::string_view bytes) const {
  const auto matches = [&](absl::string_view version) {
    return version.substr(0, bytes.size()) == bytes;
  };
  if (matches(absl::string_view(covered_).substr(sector * kDiskSector,
                                                 kDiskSector))) {
    return true;
  }
  const auto found = later_.find(sector);
  return found != later_.end() &&
         std::any_of(found->second.begin(), found->second.end(), matches);
}

std::string Promise::Check(absl::string_view content) const {
  if (content.size() != size_ && content.size() != new_size_) {
    return absl::StrCat("the disk has ", content.size(), " bytes instead of ",
                        size_, new_size_ != size_ ? " or " : "",
                        new_size_ != size_ ? absl::StrCat(new_size_) : "");
  }
  for (uint64_t at = 0; at < content.size(); at += kDiskSector) {
    const absl::string_view bytes = content.substr(at, kDiskSector);
    const uint64_t sector = at / kDiskSector;
    if (Allows(sector, bytes)) continue;
    const bool has_later = later_.contains(sector);
    return absl::StrCat("sector ", sector, " (byte ", at, ") reads as ",
                        has_later ? "none of its versions since the last flush"
                                  : "something else than what was flushed");
  }
  return "";
}

}  // namespace flatcow
