// SPDX-License-Identifier: Apache-2.0
#include "crash/damaged_image.h"

#include <string>

#include "base/byte_order.h"
#include "format/qcow2/header.h"
#include "format/qcow2/l2_entry.h"
#include "format/qed/header.h"
#include "model/chain_shape.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kClusters = 8;
// Of a new QED image with tables of four clusters: the L1 table lies behind the
// header, and the first L2 table behind that.
constexpr uint64_t kL1 = kCluster;
constexpr uint64_t kL2 = 5 * kCluster;

void WriteSome(MemoryFileSystem& files) {
  const auto image = Must(OpenImage(files, kChainImage, Writable()));
  WriteDisk(*image, 1000, PatternText(1, 3 * kCluster));
  WriteDisk(*image, 6 * kCluster, PatternText(2, kCluster / 2));
  Must(image->Flush());
}

void AddLeaks(MemoryFileSystem& files) {
  PokeFile(files, kChainImage, files.Contents(kChainImage).size(),
           PatternText(5, 3 * kCluster));
}

// The entry of cluster `index`.
void SetEntry(MemoryFileSystem& files, uint64_t index, uint64_t value) {
  PokeFile(files, kChainImage, kL2 + index * 8, Little64(value));
}

// An image with an image file, on the base.
void MakeWithData(MemoryFileSystem& files, const std::string& format) {
  MakeBase(files);
  files.SetContents("/disks/data", PatternText(4, kClusters * kCluster));
  NewImage image;
  image.format = format;
  image.backing_file = "base.raw";
  image.backing_format = "raw";
  image.cluster_size = kCluster;
  image.data_file = "data";
  Make(files, kChainImage, image);
  WriteSome(files);
}

// ---- qcow2 ----

qcow2::Header Qcow2Header(MemoryFileSystem& files) {
  const auto file = Must(files.Open(kChainImage, Access::kReadOnly));
  return Must(qcow2::LoadHeader(*file));
}

uint64_t BigAt(MemoryFileSystem& files, uint64_t offset) {
  const std::string bytes = files.Contents(kChainImage).substr(offset, 8);
  return LoadBig64(reinterpret_cast<const uint8_t*>(bytes.data()));
}

void PokeBig(MemoryFileSystem& files, uint64_t offset, uint64_t value) {
  PokeFile(files, kChainImage, offset, Little64(SwapBytes(value)));
}

uint64_t Qcow2Table(MemoryFileSystem& files) {
  return BigAt(files, Qcow2Header(files).l1_offset) & qcow2::kOffsetMask;
}

void SetRefcount(MemoryFileSystem& files, uint64_t offset, char count) {
  const uint64_t block = BigAt(files, Qcow2Header(files).refcount_table_offset);
  PokeFile(files, kChainImage, block + offset / kCluster * 2,
           std::string{'\0', count});
}

void SetFeature(MemoryFileSystem& files, uint64_t bit) {
  PokeBig(files, qcow2::kIncompatibleOffset,
          Qcow2Header(files).incompatible | bit);
}

}  // namespace

std::string LongBaseName() { return std::string(700, 'b'); }

void MakeBase(MemoryFileSystem& files) {
  files.SetContents("/disks/base.raw", PatternText(3, kClusters * kCluster));
  files.Link("/disks/base.raw", "/disks/" + LongBaseName());
  files.SetReadOnly("/disks/base.raw");
}

void MakeQed(MemoryFileSystem& files) {
  MakeBase(files);
  NewImage image;
  image.format = "qed";
  image.backing_file = "base.raw";
  image.backing_format = "raw";
  image.cluster_size = kCluster;
  Make(files, kChainImage, image);
  WriteSome(files);
}

void MakeAddCow(MemoryFileSystem& files) { MakeWithData(files, "add-cow"); }

void MakeQcow2(MemoryFileSystem& files) { MakeWithData(files, "qcow2"); }

void MakeLeaks(MemoryFileSystem& files) {
  MakeQed(files);
  AddLeaks(files);
}

void LeaveUnclean(MemoryFileSystem& files) {
  AddLeaks(files);
  const std::string header = files.Contents(kChainImage).substr(0, kCluster);
  const auto* bytes = reinterpret_cast<const uint8_t*>(header.data());
  const uint64_t features = LoadLittle64(bytes + qed::kFeaturesOffset);
  PokeFile(files, kChainImage, qed::kFeaturesOffset,
           Little64(features | qed::kFeatureNeedCheck));
  PokeFile(files, kChainImage, qed::kAutoclearOffset, Little64(~uint64_t{0}));
}

void MakeUnclean(MemoryFileSystem& files) {
  MakeQed(files);
  LeaveUnclean(files);
}

void MakeBadEntries(MemoryFileSystem& files) {
  MakeLeaks(files);
  SetEntry(files, 1, 0xdeadbeef);
  SetEntry(files, 5, 1000 * kCluster);
  SetEntry(files, 7, kL1);
}

void MakeBadTable(MemoryFileSystem& files) {
  MakeLeaks(files);
  PokeFile(files, kChainImage, kL1, Little64(kL2 + 512));
}

void MakeSharedCluster(MemoryFileSystem& files) {
  MakeLeaks(files);
  const std::string first = files.Contents(kChainImage).substr(kL2, 8);
  PokeFile(files, kChainImage, kL2 + 4 * 8, first);
}

void MakeClusterInTable(MemoryFileSystem& files) {
  MakeLeaks(files);
  SetEntry(files, 4, kL2 + kCluster);
}

void MakeStaleBits(MemoryFileSystem& files) {
  MakeAddCow(files);
  const uint64_t byte = kCluster + kClusters / 8;
  PokeFile(files, kChainImage, byte, "\x81\xff");
}

void MakeHighRefcounts(MemoryFileSystem& files) {
  MakeQcow2(files);
  const uint64_t end = files.Contents(kChainImage).size();
  AddLeaks(files);
  SetRefcount(files, end, 1);
  SetRefcount(files, end + 2 * kCluster, 7);
  SetRefcount(files, Qcow2Table(files), 2);
}

void MakeLowRefcounts(MemoryFileSystem& files) {
  MakeQcow2(files);
  AddLeaks(files);
  SetRefcount(files, Qcow2Table(files), 0);
  SetRefcount(files, 0, 0);
}

void MakeDirty(MemoryFileSystem& files) {
  MakeLowRefcounts(files);
  SetFeature(files, qcow2::kIncompatibleDirty);
  PokeBig(files, qcow2::kAutoclearOffset,
          ~uint64_t{qcow2::kAutoclearDataFileRaw});
}

void MakeMarkedCorrupt(MemoryFileSystem& files) {
  MakeLowRefcounts(files);
  SetFeature(files, qcow2::kIncompatibleCorrupt);
}

void MakeBadL2Entries(MemoryFileSystem& files) {
  MakeHighRefcounts(files);
  const uint64_t table = Qcow2Table(files);
  PokeBig(files, table + 8, qcow2::kEntryCopied | 5 * kCluster);
  PokeBig(files, table + 5 * 8, qcow2::kEntryCompressed | 512);
  PokeBig(files, table + 7 * 8, ~uint64_t{0});
}

void MakeBadL1Entry(MemoryFileSystem& files) {
  MakeHighRefcounts(files);
  PokeBig(files, Qcow2Header(files).l1_offset,
          (Qcow2Table(files) + 512) | qcow2::kEntryCopied);
}

}  // namespace flatcow
