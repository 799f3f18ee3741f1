// SPDX-License-Identifier: Apache-2.0
//
// A valid header of any geometry before tables or a bitmap of any bytes.
//
// Input: the geometry, which may claim disks and files of any size, then
// strokes of damage to the tables until the input ends.
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>

#include "base/checked_math.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/addcow/header.h"
#include "format/qed/header.h"
#include "fuzz/file_damage.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/guarded_file_system.h"
#include "fuzz/repair_check.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

constexpr char kPath[] = "/disks/image";
constexpr char kDataPath[] = "/disks/data";
constexpr uint64_t kMostFileBytes = uint64_t{1} << 62;
constexpr uint64_t kMostMapBytes = uint64_t{1} << 30;
constexpr uint64_t kDiskSpace = 96 << 20;
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
  const auto file =
      input.Byte() % 2 == 0 ? MakeQed(files, input) : MakeAddCow(files, input);
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
