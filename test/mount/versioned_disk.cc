// SPDX-License-Identifier: Apache-2.0
#include "mount/versioned_disk.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace flatcow {
namespace {

constexpr uint64_t kZeroes = 0;
constexpr uint64_t kOriginal = 1;
constexpr size_t kWords = VersionedDisk::kSector / sizeof(uint64_t);
using Words = std::array<uint64_t, kWords>;

uint64_t Mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// Three words that are read back, and the others made from them.
Words Stamp(uint64_t tag, uint64_t sector, uint64_t version) {
  Words words = {};
  if (version == kZeroes) return words;
  words[0] = tag;
  words[1] = sector;
  words[2] = version;
  const uint64_t seed = Mix(tag ^ Mix(sector ^ Mix(version)));
  for (size_t i = 3; i < kWords; ++i) words[i] = Mix(seed + i);
  return words;
}

// Disks of one run are told apart, for space is used again.
uint64_t NextTag() {
  static std::atomic<uint64_t> last{0x5461676765640000};
  return ++last;
}

}  // namespace

VersionedDisk::VersionedDisk(uint64_t size, Content original)
    : tag_(NextTag()), last_version_(kOriginal), sectors_(size / kSector) {
  for (Sector& sector : sectors_) {
    sector.may_show = {original == Content::kStamped ? kOriginal : kZeroes};
  }
}

std::vector<uint8_t> VersionedDisk::Original() const {
  std::vector<uint8_t> bytes(size());
  for (uint64_t i = 0; i < sectors_.size(); ++i) {
    const Words words = Stamp(tag_, i, kOriginal);
    std::memcpy(bytes.data() + i * kSector, words.data(), kSector);
  }
  return bytes;
}

absl::Span<VersionedDisk::Sector> VersionedDisk::SectorsOf(Extent extent) {
  return absl::MakeSpan(sectors_).subspan(extent.offset / kSector,
                                          extent.length / kSector);
}

std::vector<uint8_t> VersionedDisk::Write(Extent extent) {
  const Version version = ++last_version_;
  std::vector<uint8_t> bytes(extent.length);
  uint64_t number = extent.offset / kSector;
  uint8_t* to = bytes.data();
  for (Sector& sector : SectorsOf(extent)) {
    sector.may_show.push_back(version);
    const Words words = Stamp(tag_, number++, version);
    std::memcpy(to, words.data(), kSector);
    to += kSector;
  }
  return bytes;
}

void VersionedDisk::Zero(Extent extent) {
  for (Sector& sector : SectorsOf(extent)) sector.may_show.push_back(kZeroes);
}

void VersionedDisk::Complete(Extent extent) {
  for (Sector& sector : SectorsOf(extent)) {
    sector.complete = sector.may_show.size() - 1;
  }
}

void VersionedDisk::MarkDurable(Extent extent) {
  for (Sector& sector : SectorsOf(extent)) {
    sector.may_show.erase(
        sector.may_show.begin(),
        sector.may_show.begin() + static_cast<ptrdiff_t>(sector.complete));
    sector.complete = 0;
  }
}

VersionedDisk::Findings VersionedDisk::Verify(
    absl::Span<const uint8_t> content) {
  Findings findings;
  for (uint64_t i = 0; i < sectors_.size(); ++i) {
    Sector& sector = sectors_[i];
    Words shown;
    std::memcpy(shown.data(), content.data() + i * kSector, kSector);
    const bool zeroes = shown == Words{};
    const Version version = zeroes ? kZeroes : shown[2];
    const bool foreign = !zeroes && shown != Stamp(tag_, i, version);
    const bool allowed =
        !foreign && std::find(sector.may_show.begin(), sector.may_show.end(),
                              version) != sector.may_show.end();
    if (!allowed) ++(foreign ? findings.foreign : findings.lost);
    if (!allowed && findings.first.empty()) {
      findings.first = absl::StrCat(
          "sector ", i, " may show versions ",
          absl::StrJoin(sector.may_show, ", "), " (0: zeroes, 1: the original)",
          " and shows ", foreign ? "foreign bytes: tag " : "version ",
          foreign ? absl::StrCat(absl::Hex(shown[0]), ", of sector ", shown[1],
                                 ", version ", shown[2])
                  : absl::StrCat(version));
    }
    sector.may_show = {version};
    sector.complete = 0;
  }
  return findings;
}

}  // namespace flatcow
