// SPDX-License-Identifier: Apache-2.0
#include "format/addcow/create.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/addcow/bitmap.h"
#include "format/addcow/header.h"
#include "format/format_driver.h"

namespace flatcow::addcow {
namespace {

constexpr uint32_t kDefaultClusterSize = 65536;

}  // namespace

absl::Status CheckCreate(CreateOptions& options) {
  RETURN_IF_ERROR(CheckNotQcow2(options));
  if (options.table_size != 0) {
    return MakeError(EINVAL, "an add-cow image has no tables");
  }
  if (options.data_file.empty()) {
    return MakeError(EINVAL,
                     "an add-cow image needs an image file: give one with "
                     "-o image_file=NAME");
  }
  if (options.data_format.empty()) options.data_format = "raw";
  if (options.data_format != "raw") {
    return MakeError(ENOTSUP,
                     absl::StrCat("image file format '", options.data_format,
                                  "' is not supported by this version; "
                                  "supported is raw"));
  }
  if (options.cluster_size == 0) options.cluster_size = kDefaultClusterSize;
  const int bits = std::countr_zero(options.cluster_size);
  if (!std::has_single_bit(options.cluster_size) ||
      bits < static_cast<int>(kMinClusterBits) ||
      bits > static_cast<int>(kMaxClusterBits)) {
    return MakeError(EINVAL,
                     absl::StrCat("add-cow cluster size ", options.cluster_size,
                                  ": expected a power of two from 512 to "
                                  "67108864"));
  }
  if (options.size.has_value() &&
      *options.size > std::numeric_limits<int64_t>::max()) {
    return MakeError(EFBIG, absl::StrCat("size ", *options.size,
                                         ": a disk is smaller than 2^63"));
  }
  const uint64_t header_size = HeaderSize(options.cluster_size);
  if (kHeaderBytes + options.backing_file.size() + options.data_file.size() >
          header_size ||
      std::max(options.backing_file.size(), options.data_file.size()) >
          kMaxNameBytes) {
    return MakeError(EINVAL,
                     absl::StrCat("the names of backing and image file do not "
                                  "fit into the header of ",
                                  header_size, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status Create(File& file, File*, const CreateOptions& options) {
  Header header;
  header.cluster_bits =
      static_cast<uint32_t>(std::countr_zero(options.cluster_size));
  header.header_size = HeaderSize(options.cluster_size);
  header.image_format = options.data_format;
  header.image_name_offset = kHeaderBytes;
  header.image_name_size = static_cast<uint32_t>(options.data_file.size());
  if (options.backing_file.empty()) {
    header.compat_features = kCompatAllAllocated;
  } else {
    header.backing_format = options.backing_format;
    header.backing_name_offset = kHeaderBytes;
    header.backing_name_size =
        static_cast<uint32_t>(options.backing_file.size());
    header.image_name_offset += header.backing_name_size;
  }
  RETURN_IF_ERROR(file.Truncate(
      header.header_size + BitmapBytes(*options.size, options.cluster_size)));
  auto bytes = SerializeHeader(header);
  std::string names = absl::StrCat(options.backing_file, options.data_file);
  const iovec pieces[] = {{bytes.data(), bytes.size()},
                          {names.data(), names.size()}};
  RETURN_IF_ERROR(file.Write(0, pieces));
  return file.Sync();
}

}  // namespace flatcow::addcow
