// SPDX-License-Identifier: Apache-2.0
#include "fuzz/file_damage.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/byte_order.h"
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

void StoreField(File& file, Field field, uint64_t value) {
  Store(file, field.offset, Little64(value).substr(0, field.bytes));
}

bool IsQed(const File& file) { return Load(file, {0, 4}) == 0x00444551; }

// A field a little off, or anything at all.
void DamageField(File& file, FuzzInput& input) {
  const Field field =
      IsQed(file) ? kQedFields[input.Below(std::size(kQedFields))]
                  : kAddCowFields[input.Below(std::size(kAddCowFields))];
  const uint64_t old = Load(file, field);
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

}  // namespace

void DamageTables(File& file, FuzzInput& input) {
  if (IsQed(file)) return DamageQedTables(file, input);
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
