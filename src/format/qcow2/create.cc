// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/create.h"

#include <sys/uio.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/qcow2/build_metadata.h"
#include "format/qcow2/extensions.h"
#include "format/qcow2/header.h"
#include "format/qcow2/l2_entry.h"
#include "format/qcow2/refcounts.h"

namespace flatcow::qcow2 {
namespace {

constexpr uint32_t kDefaultClusterSize = 65536;
constexpr uint32_t kDefaultRefcountBits = 16;
constexpr uint64_t kSectorBytes = 512;

Header HeaderFor(const CreateOptions& options) {
  Header header;
  header.cluster_bits =
      static_cast<uint32_t>(std::countr_zero(options.cluster_size));
  header.refcount_order =
      static_cast<uint32_t>(std::countr_zero(options.refcount_bits));
  header.incompatible = kIncompatibleDataFile;
  if (options.data_file_raw) header.autoclear = kAutoclearDataFileRaw;
  return header;
}

void AppendExtension(uint32_t type, absl::string_view text,
                     std::string& bytes) {
  uint8_t head[kExtensionHeadBytes];
  StoreBig32(head, type);
  StoreBig32(head + 4, static_cast<uint32_t>(text.size()));
  bytes.append(reinterpret_cast<const char*>(head), sizeof(head));
  bytes.append(text.data(), text.size());
  bytes.resize(RoundUp(bytes.size(), kExtensionHeadBytes));
}

// What stands behind the header. The backing format comes first, so that it is
// in one sector with the place of the name that it belongs to; `name_offset` is
// set to that place.
std::string ExtensionArea(const CreateOptions& options, uint64_t& name_offset) {
  std::string bytes;
  if (!options.backing_format.empty()) {
    AppendExtension(kExtensionBackingFormat, options.backing_format, bytes);
  }
  AppendExtension(kExtensionDataFileName, options.data_file, bytes);
  bytes.append(kExtensionHeadBytes, '\0');
  name_offset = kWrittenBytes + bytes.size();
  return absl::StrCat(bytes, options.backing_file);
}

absl::Status CheckGeometry(CreateOptions& options) {
  if (options.cluster_size == 0) options.cluster_size = kDefaultClusterSize;
  if (!std::has_single_bit(options.cluster_size) ||
      options.cluster_size < 1u << kMinClusterBits ||
      options.cluster_size > 1u << kMaxClusterBits) {
    return MakeError(EINVAL,
                     absl::StrCat("qcow2 cluster size ", options.cluster_size,
                                  ": expected a power of two from 512 to "
                                  "2097152"));
  }
  if (options.refcount_bits == 0) options.refcount_bits = kDefaultRefcountBits;
  if (!std::has_single_bit(options.refcount_bits) ||
      options.refcount_bits > 1u << kMaxRefcountOrder) {
    return MakeError(
        EINVAL, absl::StrCat("qcow2 refcount width ", options.refcount_bits,
                             " bits: expected a power of two from 1 to "
                             "64"));
  }
  if (!options.size.has_value()) return absl::OkStatus();
  const uint64_t max = MaxSize(HeaderFor(options));
  if (*options.size > max) {
    return MakeError(
        EFBIG,
        absl::StrCat("size ", *options.size,
                     ": a qcow2 image with clusters of ", options.cluster_size,
                     " bytes holds at most ", max, " bytes"));
  }
  options.size = RoundUp(*options.size, kSectorBytes);
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckCreate(CreateOptions& options) {
  if (options.table_size != 0) {
    return MakeError(EINVAL, "the tables of a qcow2 image are one cluster");
  }
  if (options.data_file.empty()) {
    return MakeError(EINVAL,
                     "a qcow2 image is made with an external data file only: "
                     "give one with -o data_file=NAME");
  }
  if (!options.data_format.empty() && options.data_format != "raw") {
    return MakeError(EINVAL,
                     absl::StrCat("data file format '", options.data_format,
                                  "': the data file of a qcow2 image is raw"));
  }
  if (options.data_file_raw && !options.backing_file.empty()) {
    return MakeError(EINVAL,
                     "a qcow2 image whose data file by itself is the disk "
                     "(data_file_raw) has no backing file");
  }
  RETURN_IF_ERROR(CheckGeometry(options));
  uint64_t name_offset = 0;
  const uint64_t length =
      kWrittenBytes + ExtensionArea(options, name_offset).size();
  if (length > options.cluster_size ||
      options.backing_file.size() > kMaxBackingNameBytes) {
    return MakeError(
        EINVAL, absl::StrCat("the names of backing and data file do not fit "
                             "into the header of ",
                             options.cluster_size,
                             " bytes; a backing file "
                             "name has at most 1023"));
  }
  return absl::OkStatus();
}

absl::Status Create(File& file, File*, const CreateOptions& options) {
  const Header empty = HeaderFor(options);
  RETURN_IF_ERROR(file.Truncate(empty.cluster_size()));
  Syncer syncer;
  ASSIGN_OR_RETURN(Header header,
                   BuildMetadata(file, empty, {}, *options.size, syncer));
  header.size = *options.size;
  std::string area = ExtensionArea(options, header.backing_name_offset);
  header.backing_name_size = static_cast<uint32_t>(options.backing_file.size());
  if (header.backing_name_size == 0) header.backing_name_offset = 0;
  auto bytes = SerializeHeader(header);
  const iovec pieces[] = {{bytes.data(), bytes.size()},
                          {area.data(), area.size()}};
  RETURN_IF_ERROR(file.Write(0, pieces));
  return file.Sync();
}

// The data file is as long as the disk.
DiskShape Shape(const CreateOptions& options) {
  const Header header = HeaderFor(options);
  const uint64_t cluster_size = options.cluster_size;
  const uint64_t entries = L1EntriesFor(header, *options.size);
  const uint64_t l1 = RoundUp(entries * sizeof(uint64_t), cluster_size);
  const uint64_t tables = options.data_file_raw ? entries : 0;
  // Header, refcount table and a refcount block at least.
  const Refcounts refcounts(header);
  const uint64_t clusters = 2 + l1 / cluster_size + tables;
  const uint64_t blocks = DivideRoundingUp(
      clusters + DivideRoundingUp(clusters, refcounts.per_block()),
      refcounts.per_block());
  return DiskShape{.fixed_bytes = (clusters + blocks) * cluster_size,
                   .cluster_size = cluster_size,
                   .table_reach = options.data_file_raw
                                      ? 0
                                      : GeometryOf(header).table_reach(),
                   .table_bytes = options.data_file_raw ? 0 : cluster_size};
}

}  // namespace flatcow::qcow2
