// SPDX-License-Identifier: Apache-2.0
//
// What an image costs in memory does not depend on what its header claims.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>

#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "format/raw_images.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"

namespace {

std::atomic<size_t> live_bytes{0};
std::atomic<size_t> peak_bytes{0};

}  // namespace

// Not inline: GCC would warn of what it sees then.
[[gnu::noinline]] void* operator new(size_t size) {
  void* const memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  const size_t live = live_bytes += malloc_usable_size(memory);
  size_t peak = peak_bytes;
  while (peak < live && !peak_bytes.compare_exchange_weak(peak, live)) {
  }
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

namespace flatcow {
namespace {

constexpr char kPath[] = "/disks/image";
constexpr char kDataPath[] = "/disks/img";
constexpr uint64_t kTebibyte = uint64_t{1} << 40;
constexpr uint64_t kBigDisk = 64 * kTebibyte;
constexpr uint64_t kBigCluster = 64 << 20;
constexpr size_t kSlack = 1 << 20;

// Everything that reads an image.
void Use(MemoryFileSystem& files, uint64_t disk_size) {
  const auto cache = NewMetadataCache(1);
  for (const Access access : {Access::kReadOnly, Access::kReadWrite}) {
    OpenOptions options;
    options.access = access;
    options.metadata_cache = cache;
    const auto image = Must(OpenImage(files, kPath, options));
    ASSERT_EQ(image->Size(), disk_size);
    for (const uint64_t at : {uint64_t{0}, disk_size / 2, disk_size - 5000}) {
      ReadDisk(*image, {at, 5000});
    }
    EXPECT_FALSE(Must(image->Map({0, disk_size})).empty());
    Must(image->AllocatedBytes());
    Must(image->Flush());
  }
  for (const Repair repair : {Repair::kNone, Repair::kLeaks, Repair::kAll}) {
    CheckOptions options;
    options.repair = repair;
    EXPECT_EQ(Must(CheckImage(files, kPath, options)).corruptions, 0u);
  }
  Must(ReadChainInfo(files, kPath, {}));
}

size_t PeakOf(MemoryFileSystem& files, uint64_t disk_size) {
  const size_t before = live_bytes;
  peak_bytes = before;
  Use(files, disk_size);
  return peak_bytes - before;
}

void Grow(MemoryFileSystem& files, const char* path, uint64_t size) {
  Must(Must(files.Open(path, Access::kReadWrite))->Truncate(size));
}

// Two clusters of data, at the start and the end of the disk, and one of
// zeroes.
void MakeBigQed(MemoryFileSystem& files, uint32_t table_size) {
  const uint64_t table_bytes = table_size * kBigCluster;
  qed::Header header;
  header.cluster_size = kBigCluster;
  header.table_size = table_size;
  header.l1_table_offset = kBigCluster;
  header.image_size = kBigDisk;
  const auto head = qed::SerializeHeader(header);
  files.SetContents(kPath, std::string(head.begin(), head.end()));
  const uint64_t table = kBigCluster + table_bytes;
  const uint64_t data = table + table_bytes;
  Grow(files, kPath, data + 2 * kBigCluster);
  PokeFile(files, kPath, kBigCluster, Little64(table));
  PokeFile(files, kPath, table, Little64(data) + Little64(1));
  const uint64_t last = kBigDisk / kBigCluster - 1;
  PokeFile(files, kPath, table + last * sizeof(uint64_t),
           Little64(data + kBigCluster));
}

size_t SmallQed() {
  MemoryFileSystem files;
  files.SetContents(kPath, RawQed().Bytes());
  return PeakOf(files, RawQed().header.image_size);
}

TEST(BoundedResourcesTest, AQedImageOf64TebibytesCostsWhatASmallOneDoes) {
  const size_t small = SmallQed();
  for (const uint32_t table_size : {1u, 16u}) {
    MemoryFileSystem files;
    MakeBigQed(files, table_size);
    const size_t big = PeakOf(files, kBigDisk);
    EXPECT_LE(big, small + kSlack);
    RecordProperty("small_bytes", static_cast<int>(small));
    RecordProperty("big_bytes", static_cast<int>(big));
  }
}

TEST(BoundedResourcesTest, SoDoesAnAddCowImage) {
  MemoryFileSystem small_files;
  small_files.SetContents("/disks/base", PatternText(1, 64 << 10));
  small_files.SetContents(kDataPath, PatternText(2, 64 << 10));
  small_files.SetContents(kPath, RawAddCow().Bytes());
  const size_t small = PeakOf(small_files, 64 << 10);

  for (const uint32_t cluster_bits : {26u, 16u}) {
    const auto files = small_files.Snapshot();
    PokeFile(*files, kPath, 20, Little32(cluster_bits));
    Grow(*files, kDataPath, kBigDisk);
    // The bitmap: 128 KiB, or 128 MiB that are a hole.
    Grow(*files, kPath, 4096 + (kBigDisk >> cluster_bits) / 8);
    EXPECT_LE(PeakOf(*files, kBigDisk), small + kSlack);
  }
}

// Would a table in memory be noticed?
TEST(BoundedResourcesTest, WhatIsAllocatedIsCounted) {
  const size_t before = live_bytes;
  peak_bytes = before;
  auto block = std::make_unique<std::string>(2 * kSlack, 'x');
  block.reset();
  EXPECT_GT(peak_bytes - before, kSlack);
  EXPECT_EQ(live_bytes, before);
}

}  // namespace
}  // namespace flatcow
