// SPDX-License-Identifier: Apache-2.0
#include "format/damaged_qed.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

constexpr uint64_t kWord = sizeof(uint64_t);
constexpr uint64_t kCluster = DamagedQed::kCluster;
constexpr char kBacking[] = "base";

uint64_t WordAt(const std::string& bytes, uint64_t offset) {
  return LoadLittle64(reinterpret_cast<const uint8_t*>(bytes.data()) + offset);
}

}  // namespace

const char* NameOf(QedDamage damage) {
  constexpr const char* kNames[kQedDamages] = {"L2 misaligned",
                                               "L2 in header",
                                               "L2 past the end",
                                               "L2 in L1",
                                               "L2 in a table",
                                               "L1 misaligned",
                                               "L1 in header",
                                               "L1 past the end",
                                               "L1 in L1",
                                               "shared table",
                                               "overlapping table",
                                               "shared in a table",
                                               "shared across tables",
                                               "L1 past the disk",
                                               "L2 past the disk",
                                               "cut cluster",
                                               "leak inside",
                                               "leak at the end",
                                               "NEED_CHECK"};
  return kNames[static_cast<int>(damage)];
}

DamagedQed::DamagedQed(uint64_t seed) : random_(seed) {
  header_.cluster_size = kCluster;
  header_.table_size = 2;  // QEMU takes no smaller ones
  header_.header_size = 2;
  header_.l1_table_offset = 2 * kCluster;
  header_.features =
      qed::kFeatureBackingFile | qed::kFeatureBackingFormatNoProbe;
  header_.backing_filename_offset = qed::kHeaderBytes;
  header_.backing_filename_size = sizeof(kBacking) - 1;
  tables_ = 2 + Below(2);
  const uint64_t reach = header_.table_entries() * kCluster;
  header_.image_size = (tables_ - 1) * reach + 40 * kCluster + 512;
  bytes_.resize(header_.l1_table_offset + header_.table_bytes(), '\0');
  const auto head = qed::SerializeHeader(header_);
  Overwrite(bytes_, 0, std::string(head.begin(), head.end()));
  Overwrite(bytes_, qed::kHeaderBytes, kBacking);
  for (uint64_t table = 0; table < tables_; ++table) {
    SetWord(L1Entry(table), bytes_.size());
    bytes_.append(header_.table_bytes(), '\0');
    // Clusters go to tables that exist by now.
    for (int i = 0; i < 8; ++i) {
      const uint64_t entry =
          Word(L1Entry(Below(table + 1))) + Below(30) * kWord;
      if (Word(entry) > 1) continue;
      SetWord(entry, Below(6) == 0 ? 1 : bytes_.size());
      if (Word(entry) == 1) continue;
      bytes_ += PatternText(bytes_.size() ^ seed, kCluster);
    }
  }
}

uint64_t DamagedQed::Word(uint64_t offset) const {
  return WordAt(bytes_, offset);
}

void DamagedQed::SetWord(uint64_t offset, uint64_t value) {
  Overwrite(bytes_, offset, Little64(value));
}

uint64_t DamagedQed::L1Entry(uint64_t table) const {
  return header_.l1_table_offset + table * kWord;
}

uint64_t DamagedQed::AnyL1Entry() { return L1Entry(Below(tables_)); }

uint64_t DamagedQed::AnyL2Entry(uint64_t table) {
  const uint64_t begin = Word(L1Entry(table));
  if (begin % kCluster != 0 || begin + header_.table_bytes() > bytes_.size()) {
    return 0;
  }
  std::vector<uint64_t> used;
  for (uint64_t i = 0; i < 40; ++i) {
    if (Word(begin + i * kWord) > 1) used.push_back(begin + i * kWord);
  }
  return used.empty() ? 0 : used[Below(used.size())];
}

void DamagedQed::SetL2(uint64_t value) {
  if (const uint64_t entry = AnyL2Entry(); entry != 0) SetWord(entry, value);
}

void DamagedQed::SetL1(uint64_t value) { SetWord(AnyL1Entry(), value); }

void DamagedQed::Damage(QedDamage damage) {
  absl::StrAppend(&description_, description_.empty() ? "" : ", ",
                  NameOf(damage));
  const uint64_t end = (bytes_.size() + kCluster - 1) / kCluster * kCluster;
  const uint64_t l1 = header_.l1_table_offset;
  const uint64_t in_table = Below(header_.table_size) * kCluster;
  const uint64_t far = uint64_t{1} << (20 + Below(44));
  switch (damage) {
    case QedDamage::kL2Misaligned:
      return SetL2(kCluster * (4 + Below(8)) + 2 + Below(kCluster - 2));
    case QedDamage::kL2InHeader:
      return SetL2(kCluster);
    case QedDamage::kL2PastTheEnd:
      return SetL2(Below(2) == 0 ? end + Below(4) * kCluster : end + far);
    case QedDamage::kL2InL1:
      return SetL2(l1 + in_table);
    case QedDamage::kL2InTable:
      return SetL2(Word(AnyL1Entry()) + in_table);
    case QedDamage::kL1Misaligned:
      return SetL1(Word(AnyL1Entry()) + 8 + Below(kCluster - 8));
    case QedDamage::kL1InHeader:
      return SetL1(kCluster);
    case QedDamage::kL1PastTheEnd:
      return SetL1(Below(2) == 0 ? end + Below(4) * kCluster : end + far);
    case QedDamage::kL1InL1:
      return SetL1(l1 + in_table);
    case QedDamage::kSharedTable:
      return SetWord(L1Entry(1),
                     Word(L1Entry(Below(2) == 0 ? 0 : tables_ - 1)));
    case QedDamage::kOverlappingTable:
      return SetWord(L1Entry(1), Word(L1Entry(0)) + in_table);
    case QedDamage::kSharedInTable:
    case QedDamage::kSharedAcrossTables: {
      const bool across = damage == QedDamage::kSharedAcrossTables;
      const uint64_t from = AnyL2Entry(0);
      const uint64_t to = AnyL2Entry(across ? 1 : 0);
      if (from != 0 && to != 0) SetWord(to, Word(from));
      return;
    }
    case QedDamage::kL1PastTheDisk:
      return SetWord(L1Entry(tables_ + Below(3)), Word(AnyL1Entry()));
    case QedDamage::kL2PastTheDisk: {
      const uint64_t from = AnyL2Entry(0);
      const uint64_t last = AnyL2Entry(tables_ - 1);
      if (from == 0 || last == 0) return;
      return SetWord(RoundDown(last, kCluster) + (50 + Below(9)) * kWord,
                     Word(from));
    }
    case QedDamage::kCutCluster:
      bytes_.resize(bytes_.size() - 1 - Below(kCluster - 1));
      return;
    case QedDamage::kLeakInside:
      return SetL2(0);
    case QedDamage::kLeakAtTheEnd:
      bytes_.resize(end, '\x11');
      bytes_.append((1 + Below(3)) * kCluster, '\x11');
      return;
    case QedDamage::kNeedCheck:
      SetWord(qed::kFeaturesOffset,
              Word(qed::kFeaturesOffset) | qed::kFeatureNeedCheck);
      return;
  }
}

QedWords::QedWords(const std::string& bytes) {
  header = Must(qed::ParseHeader(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()),
                          qed::kHeaderBytes),
      bytes.size()));
  const uint64_t count = header.table_entries();
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t table = WordAt(bytes, header.l1_table_offset + i * kWord);
    l1.push_back(table);
    l2.emplace_back();
    if (table == 0 || table % kCluster != 0 || table >= bytes.size() ||
        header.table_bytes() > bytes.size() - table) {
      continue;
    }
    for (uint64_t j = 0; j < count; ++j) {
      l2.back().push_back(WordAt(bytes, table + j * kWord));
    }
  }
}

bool QedWords::IsSound(uint64_t file_size) const {
  std::set<uint64_t> used;  // clusters
  for (uint64_t i = 0; i < header.header_size; ++i) used.insert(i);
  // Precondition of an entry: clusters inside the file that nothing uses.
  const auto take = [&](uint64_t offset, uint64_t count) {
    if (offset % kCluster != 0) return false;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t cluster = offset / kCluster + i;
      if ((cluster + 1) * kCluster > file_size) return false;
      if (!used.insert(cluster).second) return false;
    }
    return true;
  };
  bool sound = take(header.l1_table_offset, header.table_size);
  for (const uint64_t table : l1) {
    if (table != 0 && !take(table, header.table_size)) sound = false;
  }
  for (const auto& table : l2) {
    for (const uint64_t entry : table) {
      if (entry > 1 && !take(entry, 1)) sound = false;
    }
  }
  return sound;
}

std::vector<Extent> ZeroedEntries(const QedWords& before,
                                  const QedWords& after) {
  const uint64_t size = before.header.image_size;
  const uint64_t reach = before.header.table_entries() * kCluster;
  std::vector<Extent> zeroed;
  const auto add = [&](uint64_t offset, uint64_t length) {
    if (offset < size)
      zeroed.push_back({offset, std::min(length, size - offset)});
  };
  for (uint64_t i = 0; i < before.l1.size(); ++i) {
    if (before.l1[i] != 0 && after.l1[i] == 0) add(i * reach, reach);
    if (before.l1[i] == 0 || after.l1[i] == 0) continue;
    for (uint64_t j = 0; j < before.l2[i].size(); ++j) {
      if (before.l2[i][j] != 0 && after.l2[i][j] == 0) {
        add(i * reach + j * kCluster, kCluster);
      }
    }
  }
  return zeroed;
}

}  // namespace flatcow
