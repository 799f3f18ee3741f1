// SPDX-License-Identifier: Apache-2.0
#include "format/qed/create.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/format_driver.h"
#include "format/qed/header.h"

namespace flatcow::qed {
namespace {

constexpr uint32_t kDefaultClusterSize = 65536;
constexpr uint32_t kDefaultTableSize = 4;
constexpr uint32_t kMinNewTableSize = 2;

}  // namespace

absl::Status CheckCreate(CreateOptions& options) {
  RETURN_IF_ERROR(CheckNotQcow2(options));
  if (!options.data_file.empty() || !options.data_format.empty()) {
    return MakeError(EINVAL, "a QED image has no image file");
  }
  if (options.cluster_size == 0) options.cluster_size = kDefaultClusterSize;
  if (options.table_size == 0) options.table_size = kDefaultTableSize;
  if (!std::has_single_bit(options.cluster_size) ||
      options.cluster_size < kMinClusterSize ||
      options.cluster_size > kMaxClusterSize) {
    return MakeError(EINVAL,
                     absl::StrCat("QED cluster size ", options.cluster_size,
                                  ": expected a power of two from 4096 to "
                                  "67108864"));
  }
  if (!std::has_single_bit(options.table_size) ||
      options.table_size < kMinNewTableSize ||
      options.table_size > kMaxTableSize) {
    return MakeError(EINVAL, absl::StrCat("QED table size ", options.table_size,
                                          ": expected 2, 4, 8 or 16 clusters"));
  }
  const uint64_t max = MaxImageSize(options.cluster_size, options.table_size,
                                    /*as_qemu=*/true);
  if (max == 0) {
    return MakeError(EINVAL,
                     absl::StrCat("QED cluster size ", options.cluster_size,
                                  " with table size ", options.table_size,
                                  ": QEMU can't open such an image; make one "
                                  "of them smaller"));
  }
  if (options.size.has_value()) {
    if (*options.size > max) {
      return MakeError(
          EFBIG,
          absl::StrCat("size ", *options.size,
                       ": a QED image with clusters of ", options.cluster_size,
                       " and tables of ", options.table_size,
                       " clusters holds at most ", max, " bytes"));
    }
    options.size = RoundUp(*options.size, kSectorBytes);
  }
  const uint64_t room = options.cluster_size - kHeaderBytes;
  if (options.backing_file.size() >
      std::min<uint64_t>(room, kMaxBackingNameBytes)) {
    return MakeError(
        EINVAL, absl::StrCat("backing file name of ",
                             options.backing_file.size(), " bytes: at most ",
                             std::min<uint64_t>(room, kMaxBackingNameBytes),
                             " fit into the header"));
  }
  return absl::OkStatus();
}

absl::Status Create(File& file, File*, const CreateOptions& options) {
  Header header;
  header.cluster_size = options.cluster_size;
  header.table_size = options.table_size;
  header.l1_table_offset = header.header_bytes();
  header.image_size = *options.size;
  if (!options.backing_file.empty()) {
    header.features |= kFeatureBackingFile;
    if (options.backing_format == "raw") {
      header.features |= kFeatureBackingFormatNoProbe;
    }
    header.backing_filename_offset = kHeaderBytes;
    header.backing_filename_size =
        static_cast<uint32_t>(options.backing_file.size());
  }
  RETURN_IF_ERROR(file.Truncate(header.header_bytes() + header.table_bytes()));
  auto bytes = SerializeHeader(header);
  std::string name = options.backing_file;
  const iovec pieces[] = {{bytes.data(), bytes.size()},
                          {name.data(), name.size()}};
  RETURN_IF_ERROR(file.Write(0, pieces));
  return file.Sync();
}

}  // namespace flatcow::qed
