// SPDX-License-Identifier: Apache-2.0
//
// A valid header of any geometry before tables or a bitmap of any bytes: QED,
// add-cow, qcow2 with a data file, qcow2 without.
//
// Input: the geometry, which may claim disks and files of any size, then
// strokes of damage to the tables until the input ends.
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>

#include "base/byte_order.h"
#include "base/checked_math.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/addcow/header.h"
#include "format/qcow2/build_metadata.h"
#include "format/qcow2/extensions.h"
#include "format/qcow2/header.h"
#include "format/qcow2/l2_entry.h"
#include "format/qed/header.h"
#include "fuzz/file_damage.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/guarded_file_system.h"
#include "fuzz/repair_check.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"
#include "support/packed_cluster.h"

namespace flatcow {
namespace {

constexpr char kPath[] = "/disks/image";
constexpr char kDataPath[] = "/disks/data";
constexpr uint64_t kMostFileBytes = uint64_t{1} << 62;
constexpr uint64_t kMostMapBytes = uint64_t{1} << 30;
constexpr uint64_t kDiskSpace = 96 << 20;
// Whoever opens an image looks at each.
constexpr uint64_t kMostL1Entries = 1 << 16;
constexpr int kMostStrokes = 256;

template <typename Header>
std::unique_ptr<File> WriteHead(MemoryFileSystem& files, const Header& header,
                                const std::string& name, uint64_t file_size) {
  const auto head = SerializeHeader(header);
  files.SetContents(kPath, std::string(head.begin(), head.end()) + name);
  auto file = Must(files.Open(kPath, Access::kReadWrite));
  Must(file->Truncate(std::min(file_size, kMostFileBytes)));
  return file;
}

std::unique_ptr<File> MakeQed(MemoryFileSystem& files, FuzzInput& input) {
  qed::Header header;
  header.cluster_size = 4096u << (input.Byte() % 15);
  header.table_size = 1u << (input.Byte() % 5);
  if (input.Byte() % 4 == 0) header.features = qed::kFeatureNeedCheck;
  header.l1_table_offset =
      header.cluster_size * (1 + uint64_t{input.Byte() % 3u});
  header.image_size = RoundDown(
      std::min(input.AnyNumber(),
               qed::MaxImageSize(header.cluster_size, header.table_size)),
      qed::kSectorBytes);
  const uint64_t least = header.l1_table_offset + header.table_bytes();
  return WriteHead(files, header, "",
                   least + std::min(input.AnyNumber(), kMostFileBytes));
}

std::unique_ptr<File> MakeAddCow(MemoryFileSystem& files, FuzzInput& input) {
  const std::string name = "data";
  addcow::Header header;
  header.cluster_bits =
      addcow::kMinClusterBits +
      input.Byte() % (addcow::kMaxClusterBits - addcow::kMinClusterBits + 1);
  header.header_size = 4096 + input.Half();
  header.image_format = "raw";
  header.image_name_offset = addcow::kHeaderBytes;
  header.image_name_size = static_cast<uint32_t>(name.size());
  const uint8_t flags = input.Byte();
  if (flags >= 0x80) {
    header.layout =
        flags >= 0xc0 ? addcow::Layout::kJuly2012 : addcow::Layout::kJune2012;
    header.cluster_bits = 16;
    header.header_size = 4096;
    header.image_name_offset = addcow::kParsedBytes;
  }
  if (flags % 8 == 0 && header.layout != addcow::Layout::kJune2012) {
    header.set_all_allocated(true);
  }
  files.SetContents(kDataPath, PatternText(3, 9000));
  const auto data = Must(files.Open(kDataPath, Access::kReadWrite));
  Must(data->Truncate(std::min(input.AnyNumber(), kMostFileBytes)));
  return WriteHead(files, header, name,
                   header.header_size + input.AnyNumber() / 4);
}

std::string Big32(uint32_t value) {
  return Little32(static_cast<uint32_t>(SwapBytes(value) >> 32));
}
std::string Big64(uint64_t value) { return Little64(SwapBytes(value)); }

// Features of what is read only, or of what is written.
void ChooseFeatures(qcow2::Header& header, uint8_t flags, bool has_data_file) {
  if ((flags & 1) != 0 && header.cluster_bits >= 14) {
    header.incompatible |= qcow2::kIncompatibleExtendedL2;
  }
  if ((flags & 2) != 0) header.incompatible |= qcow2::kIncompatibleDirty;
  if ((flags & 12) == 12) header.incompatible |= qcow2::kIncompatibleCorrupt;
  if (has_data_file) {
    header.incompatible |= qcow2::kIncompatibleDataFile;
    if ((flags & 16) != 0) header.autoclear |= qcow2::kAutoclearDataFileRaw;
    if ((flags & 32) != 0) header.autoclear |= qcow2::kAutoclearBitmaps;
  } else if ((flags & 16) != 0) {
    header.incompatible |= qcow2::kIncompatibleCompression;
    header.compression_type = qcow2::kCompressionZstd;
  } else if ((flags & 32) != 0) {
    header.version = 2;
    header.incompatible = 0;
    header.refcount_order = 4;
  }
}

// An L2 table at `offset`, all of whose first entries are of one compressed
// cluster.
void AddCompressed(File& file, const qcow2::Header& header, uint64_t offset) {
  const uint64_t cluster_size = header.cluster_size();
  std::string content;
  while (content.size() < cluster_size) {
    content += PatternText(5, 40) + std::string(300, 'x');
  }
  content.resize(cluster_size);
  const std::string packed =
      PackedCluster(content, header.compression_type != 0);
  const uint64_t place = offset + cluster_size + 77;
  const uint64_t sectors = (place % 512 + packed.size() - 1) / 512;
  const uint64_t entry = qcow2::kEntryCompressed | place |
                         sectors << (62 - (header.cluster_bits - 8));
  std::string table;
  for (int i = 0; i < 16; ++i) {
    table += Big64(entry);
    if (header.extended_l2()) table += Big64(0);
  }
  Must(file.Truncate(std::max(Must(file.Stat()).size, place + packed.size())));
  const auto write = [&](uint64_t at, std::string bytes) {
    const iovec piece{bytes.data(), bytes.size()};
    Must(file.Write(at, absl::MakeConstSpan(&piece, 1)));
  };
  write(header.l1_offset, Big64(offset | qcow2::kEntryCopied));
  write(offset, table);
  write(place, packed);
}

std::unique_ptr<File> MakeQcow2(MemoryFileSystem& files, FuzzInput& input,
                                bool has_data_file) {
  qcow2::Header header;
  header.cluster_bits =
      qcow2::kMinClusterBits +
      input.Byte() % (qcow2::kMaxClusterBits - qcow2::kMinClusterBits + 1);
  header.refcount_order = input.Byte() % (qcow2::kMaxRefcountOrder + 1);
  const uint8_t flags = input.Byte();
  ChooseFeatures(header, flags, has_data_file);
  const uint64_t cluster_size = header.cluster_size();
  const uint8_t places = input.Byte();
  header.refcount_table_offset = cluster_size * (1 + places % 4u);
  header.refcount_table_clusters = 1 + places / 4 % 2u;
  header.l1_offset = cluster_size * (1 + places / 8 % 8u);
  header.size = std::min(
      input.AnyNumber(),
      std::min(qcow2::MaxSize(header),
               kMostL1Entries * qcow2::GeometryOf(header).table_reach()));
  header.l1_entries = static_cast<uint32_t>(
      qcow2::L1EntriesFor(header, header.size) + places / 64);
  std::string extensions;
  if (has_data_file) {
    extensions += Big32(qcow2::kExtensionDataFileName) + Big32(4) + "data" +
                  std::string(4, '\0');
    if ((flags & 32) != 0) {
      extensions += Big32(0x23852875) + Big32(24) + Big32(input.Byte()) +
                    Big32(0) + Big64(input.AnyNumber()) +
                    Big64(RoundDown(input.AnyNumber(), cluster_size));
    }
    files.SetContents(kDataPath, PatternText(3, 9000));
    const auto data = Must(files.Open(kDataPath, Access::kReadWrite));
    Must(data->Truncate(std::min(input.AnyNumber(), kMostFileBytes)));
  }
  const uint64_t least = RoundUp(
      header.l1_offset + header.l1_entries * sizeof(uint64_t), cluster_size);
  auto file = WriteHead(files, header, extensions,
                        least + std::min(input.AnyNumber(), kMostFileBytes));
  if (!has_data_file && (flags & 64) != 0) AddCompressed(*file, header, least);
  return file;
}

std::unique_ptr<File> MakeImageOf(uint8_t kind, MemoryFileSystem& files,
                                  FuzzInput& input) {
  switch (kind % 4) {
    case 0:
      return MakeQed(files, input);
    case 1:
      return MakeAddCow(files, input);
    default:
      return MakeQcow2(files, input, kind % 4 == 2);
  }
}

void ReadAndMap(FileSystem& files) {
  const auto image =
      OpenImage(files, kPath, {.metadata_cache = NewMetadataCache(1)});
  RequireClear(image.status());
  if (!image.ok()) return;
  const uint64_t size = (*image)->Size();
  uint8_t buffer[5000];
  for (const uint64_t at : {uint64_t{0}, uint64_t{100'000}, size / 3, size / 2,
                            size - std::min<uint64_t>(size, 4096)}) {
    RequireClear((*image)->Read(at, absl::MakeSpan(buffer)).status());
    if (at >= size) continue;
    const Extent extent{at, std::min(kMostMapBytes, size - at)};
    RequireClear((*image)->Map(extent).status());
  }
  RequireClear((*image)->AllocatedBytes().status());
}

void WriteAndFlush(FileSystem& files) {
  OpenOptions options = Writable();
  options.metadata_cache = NewMetadataCache(1);
  const auto image = OpenImage(files, kPath, options);
  RequireClear(image.status());
  if (!image.ok()) return;
  const uint64_t size = (*image)->Size();
  const std::string data = PatternText(1, 5000);
  const auto bytes = absl::MakeConstSpan(
      reinterpret_cast<const uint8_t*>(data.data()), data.size());
  for (const uint64_t at : {uint64_t{77}, size / 2}) {
    RequireClear((*image)->Write(at, bytes).status());
  }
  RequireClear((*image)->WriteZeroes({0, std::min<uint64_t>(size, 99'999)}));
  RequireClear((*image)->Flush());
}

// The verbs that rewrite, stopped soon where the disk is large.
void RewriteAll(FileSystem& files) {
  int reports = 0;
  const WorkOptions work{.parallel = 1, .progress = [&](uint64_t, uint64_t) {
                           return ++reports % 20 != 0;
                         }};
  const auto require_clear = [](const absl::Status& status) {
    // Stopped by the function above.
    if (ErrnoOf(status) != EINTR) RequireClear(status);
  };
  RequireClear(
      AmendImage(files, kPath,
                 {.backing_file = "elsewhere", .backing_format = "raw"})
          .status());
  require_clear(RebaseImage(files, kPath, {.work = work}).status());
  require_clear(CommitImage(files, kPath, {.work = work}).status());
  RequireClear(AmendImage(files, kPath, {.backing_file = ""}).status());
  RequireClear(
      ResizeImage(
          files, kPath,
          {.how = ResizeOptions::How::kDownBy, .bytes = 51200, .shrink = true})
          .status());
  require_clear(FlattenImage(files, kPath, {.work = work}).status());
}

}  // namespace

void FuzzTables(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  MemoryFileSystem files;
  const uint8_t kind = input.Byte();
  const auto file = MakeImageOf(kind, files, input);
  for (int i = 0; i < kMostStrokes && !input.empty(); ++i) {
    DamageTables(*file, input);
  }
  GuardedFileSystem guarded(files, kDiskSpace);
  ReadAndMap(guarded);
  CheckAndCompare(guarded, kPath, Repair::kNone);
  guarded.Permit({kPath, kDataPath});
  CheckAndCompare(guarded, kPath, Repair::kLeaks);
  WriteAndFlush(guarded);
  CheckAndCompare(guarded, kPath, Repair::kAll);
  ReadAndMap(guarded);
  RewriteAll(guarded);
}

}  // namespace flatcow
