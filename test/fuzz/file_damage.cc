// SPDX-License-Identifier: Apache-2.0
#include "fuzz/file_damage.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/byte_order.h"
#include "format/qcow2/header.h"
#include "format/qcow2/l2_entry.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

constexpr uint64_t kMostFileBytes = uint64_t{1} << 62;
constexpr uint64_t kWordBytes = sizeof(uint64_t);

struct Field {
  uint64_t offset;
  size_t bytes;
};

constexpr Field kQedFields[] = {{4, 4},  {8, 4},  {12, 4}, {16, 8}, {24, 8},
                                {32, 8}, {40, 8}, {48, 8}, {56, 4}, {60, 4}};
constexpr Field kAddCowFields[] = {{4, 4},  {8, 4},  {12, 4}, {16, 4}, {20, 4},
                                   {24, 8}, {32, 8}, {40, 4}, {44, 1}, {60, 1}};
constexpr Field kQcow2Fields[] = {
    {4, 4},  {8, 8},  {16, 4}, {20, 4}, {24, 8}, {36, 4}, {40, 8},  {48, 8},
    {56, 4}, {60, 4}, {72, 8}, {80, 8}, {88, 8}, {96, 4}, {100, 4}, {104, 1}};

uint64_t Load(const File& file, Field field) {
  uint8_t bytes[kWordBytes] = {};
  // Past the end of the file there is nothing, which reads as zero here.
  file.Read(field.offset, absl::MakeSpan(bytes, field.bytes))
      .status()
      .IgnoreError();
  return LoadLittle64(bytes);
}

// Offsets that no file can have are refused, which leaves the file as it was.
void Store(File& file, uint64_t offset, std::string bytes) {
  const iovec piece{bytes.data(), bytes.size()};
  file.Write(offset, absl::MakeConstSpan(&piece, 1)).IgnoreError();
}

bool IsQed(const File& file) { return Load(file, {0, 4}) == 0x00444551; }
bool IsQcow2(const File& file) { return Load(file, {0, 4}) == 0xfb494651; }

uint64_t LoadBig(const File& file, Field field) {
  return SwapBytes(Load(file, field)) >> (8 * (kWordBytes - field.bytes));
}

std::string Big64(uint64_t value) { return Little64(SwapBytes(value)); }

void StoreField(File& file, Field field, uint64_t value) {
  Store(file, field.offset,
        IsQcow2(file) ? Big64(value).substr(kWordBytes - field.bytes)
                      : Little64(value).substr(0, field.bytes));
}

Field TakeField(const File& file, FuzzInput& input) {
  if (IsQed(file)) return kQedFields[input.Below(std::size(kQedFields))];
  if (IsQcow2(file)) return kQcow2Fields[input.Below(std::size(kQcow2Fields))];
  return kAddCowFields[input.Below(std::size(kAddCowFields))];
}

// A field a little off, or anything at all.
void DamageField(File& file, FuzzInput& input) {
  const Field field = TakeField(file, input);
  const uint64_t old = IsQcow2(file) ? LoadBig(file, field) : Load(file, field);
  switch (input.Byte() % 6) {
    case 0:
      return StoreField(file, field, input.AnyNumber());
    case 1:
      return StoreField(file, field, old ^ (uint64_t{1} << input.Byte() % 64));
    case 2:
      return StoreField(file, field, old + input.Byte());
    case 3:
      return StoreField(file, field, old - input.Byte());
    case 4:
      return StoreField(file, field, old * 2);
    default:
      return StoreField(file, field, uint64_t{input.Byte()});
  }
}

uint64_t FileSize(const File& file) { return Must(file.Stat()).size; }

void DamageSize(File& file, FuzzInput& input) {
  const uint64_t size = FileSize(file);
  uint64_t new_size = input.Below(size + 1);
  if (input.Byte() % 2 != 0) new_size = size + input.AnyNumber();
  Must(file.Truncate(std::min(new_size, kMostFileBytes)));
}

// Mostly the offset of some cluster.
uint64_t TakeEntry(uint64_t cluster_size, FuzzInput& input) {
  const uint64_t cluster = input.Byte() * cluster_size;
  switch (input.Byte() % 8) {
    case 0:
      return input.AnyNumber();
    case 1:
      return cluster + input.Byte();
    case 2:
      return cluster << (input.Byte() % 32);
    default:
      return cluster;
  }
}

void DamageQedTables(File& file, FuzzInput& input) {
  const uint64_t cluster_size = Load(file, {4, 4});
  const uint64_t l1 = Load(file, {40, 8});
  const uint8_t kind = input.Byte();
  const uint64_t l1_index = kind % 4 == 0 ? input.Half() : input.Byte() % 4;
  const uint64_t l1_entry = l1 + l1_index * kWordBytes;
  switch (kind % 3) {
    case 0:
      return Store(file, l1_entry, Little64(TakeEntry(cluster_size, input)));
    case 1: {
      const uint64_t table = Load(file, {l1_entry, kWordBytes});
      const uint64_t index = kind % 2 != 0 ? input.Byte() : input.Half();
      return Store(file, table + index * kWordBytes,
                   Little64(TakeEntry(cluster_size, input)));
    }
    default:
      return Store(file, l1 + input.Half(), input.Bytes(1 + kind / 4));
  }
}

// With the bits that an entry may have: copied, compressed, zero.
uint64_t TakeQcow2Entry(uint64_t offset, FuzzInput& input) {
  constexpr uint64_t kBits[] = {
      qcow2::kEntryCopied,     0,
      qcow2::kEntryZero,       qcow2::kEntryZero | qcow2::kEntryCopied,
      qcow2::kEntryCompressed, qcow2::kEntryCompressed | uint64_t{3} << 54};
  return offset | kBits[input.Byte() % std::size(kBits)];
}

// Entries of an L1 or L2 table or of the refcount table, or bytes anywhere.
void DamageQcow2Tables(File& file, FuzzInput& input) {
  const uint64_t cluster_bits = LoadBig(file, {20, 4}) % 32;
  const uint64_t cluster_size = uint64_t{1} << cluster_bits;
  const bool has_data_file =
      (LoadBig(file, {72, 8}) & qcow2::kIncompatibleDataFile) != 0;
  const bool extended =
      (LoadBig(file, {72, 8}) & qcow2::kIncompatibleExtendedL2) != 0;
  const uint8_t kind = input.Byte();
  const uint64_t l1_index = kind % 16 == 0 ? input.Half() : kind / 64;
  const uint64_t l1_entry = LoadBig(file, {40, 8}) + l1_index * kWordBytes;
  const uint64_t refcount_table = LoadBig(file, {48, 8});
  switch (kind % 6) {
    case 0:
      return Store(
          file, l1_entry,
          Big64(TakeQcow2Entry(TakeEntry(cluster_size, input), input)));
    case 1: {
      const uint64_t table =
          LoadBig(file, {l1_entry, kWordBytes}) & qcow2::kOffsetMask;
      const uint64_t index = kind / 8 % 2 != 0 ? input.Half() : input.Byte();
      const uint64_t words = extended ? 2 : 1;
      const uint64_t table_entries = cluster_size / kWordBytes / words;
      const uint64_t guest = (l1_index * table_entries + index) * cluster_size;
      const bool matches = has_data_file && kind / 16 % 2 == 0;
      const uint64_t place = matches ? guest : TakeEntry(cluster_size, input);
      std::string entry = Big64(TakeQcow2Entry(place, input));
      if (extended) entry += Big64(input.AnyNumber());
      return Store(file, table + index * words * kWordBytes, entry);
    }
    case 2:
      return Store(file, refcount_table + input.Byte() * kWordBytes,
                   Big64(TakeEntry(cluster_size, input)));
    case 3: {
      const uint64_t block =
          LoadBig(file, {refcount_table + l1_index * kWordBytes, kWordBytes});
      return Store(file, block + input.Byte(),
                   input.Bytes(size_t{1} + kind / 8));
    }
    case 4:
      return Store(file, input.Byte() * cluster_size + input.Byte(),
                   input.Bytes(size_t{1} + kind / 4));
    default:
      return Store(file, input.Byte() * cluster_size,
                   Big64(TakeEntry(cluster_size, input)) +
                       Big64(TakeEntry(cluster_size, input)));
  }
}

}  // namespace

void DamageTables(File& file, FuzzInput& input) {
  if (IsQed(file)) return DamageQedTables(file, input);
  if (IsQcow2(file)) return DamageQcow2Tables(file, input);
  const uint64_t bitmap = Load(file, {40, 4});
  const uint8_t length = input.Byte();
  Store(file, bitmap + input.Half(), input.Bytes(size_t{1} + length % 64));
}

void DamageFile(File& file, FuzzInput& input) {
  switch (input.Byte() % 8) {
    case 0: {
      const uint64_t offset = input.Below(FileSize(file) + 1);
      return Store(file, offset, input.Bytes(size_t{1} + input.Byte() % 32));
    }
    case 1:
      return DamageSize(file, input);
    case 2:
    case 3:
      return DamageField(file, input);
    default:
      return DamageTables(file, input);
  }
}

}  // namespace flatcow
