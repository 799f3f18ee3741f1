// SPDX-License-Identifier: Apache-2.0
//
// A zoo of damaged QED images, made byte by byte, each from a seed.
#ifndef FLATCOW_TEST_FORMAT_DAMAGED_QED_H_
#define FLATCOW_TEST_FORMAT_DAMAGED_QED_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "flatcow/extent.h"
#include "format/qed/header.h"

namespace flatcow {

enum class QedDamage {
  kL2Misaligned,
  kL2InHeader,
  kL2PastTheEnd,
  kL2InL1,
  kL2InTable,
  kL1Misaligned,
  kL1InHeader,
  kL1PastTheEnd,
  kL1InL1,
  kSharedTable,         // a table named twice
  kOverlappingTable,    // a table that begins inside another
  kSharedInTable,       // a cluster named twice by one table
  kSharedAcrossTables,  // by two tables
  kL1PastTheDisk,       // entries that no guest byte reaches
  kL2PastTheDisk,
  kCutCluster,  // the file ends inside a cluster that is used
  kLastBadDamage = kCutCluster,
  // From here on no entry is bad.
  kLeakInside,
  kLeakAtTheEnd,
  kNeedCheck,
};
inline constexpr int kQedDamages = static_cast<int>(QedDamage::kNeedCheck) + 1;
const char* NameOf(QedDamage damage);
inline bool IsBad(QedDamage damage) {
  return damage <= QedDamage::kLastBadDamage;
}

// A QED image over the raw file "base" with two or three tables whose data lies
// scattered in the file.
class DamagedQed {
 public:
  static constexpr uint64_t kCluster = 4096;
  // Of the backing file.
  static constexpr uint64_t kBaseSize = 24 * kCluster + 512;

  // A sound image.
  explicit DamagedQed(uint64_t seed);

  // May leave it as it was where there is nothing to damage.
  void Damage(QedDamage damage);

  const std::string& bytes() const { return bytes_; }
  const std::string& description() const { return description_; }

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }
  uint64_t Word(uint64_t offset) const;
  void SetWord(uint64_t offset, uint64_t value);
  // The place of a word in use, 0 for none: an L1 entry, or one of table `i`
  // that names data.
  uint64_t AnyL1Entry();
  uint64_t AnyL2Entry(uint64_t table);
  uint64_t AnyL2Entry() { return AnyL2Entry(Below(tables_)); }
  uint64_t L1Entry(uint64_t table) const;
  void SetL2(uint64_t value);
  void SetL1(uint64_t value);

  qed::Header header_;
  std::mt19937_64 random_;
  uint64_t tables_ = 0;
  std::string bytes_;
  std::string description_;
};

// What the words of a QED image say, read without the library.
struct QedWords {
  explicit QedWords(const std::string& bytes);

  qed::Header header;
  std::vector<uint64_t> l1;
  std::vector<std::vector<uint64_t>> l2;  // by L1 index; empty: no table there

  // Does an entry name what it must not, or what another one names? Sound
  // images have no such entry.
  bool IsSound(uint64_t file_size) const;
};

// Guest ranges whose entries are not 0 in `before` and are 0 in `after`.
std::vector<Extent> ZeroedEntries(const QedWords& before,
                                  const QedWords& after);

}  // namespace flatcow

#endif  // FLATCOW_TEST_FORMAT_DAMAGED_QED_H_
