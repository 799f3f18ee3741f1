// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/image.h"
#include "format/registry.h"
#include "image/chain.h"
#include "image/image_file.h"
#include "image/image_info.h"

namespace flatcow {

ImageInfo MakeImageInfo(const File& file, const FormatDriver& driver,
                        const FormatHeader& header) {
  ImageInfo info;
  info.path = file.path();
  info.format = driver.name;
  info.virtual_size = header.virtual_size.value_or(0);
  info.cluster_size = header.cluster_size;
  info.backing = header.backing;
  info.data_file = header.data_file;
  info.needs_check = header.needs_check;
  info.all_allocated = header.all_allocated;
  info.read_only = header.read_only;
  info.qcow2 = header.qcow2;
  return info;
}

namespace {

// `depth`: how many images have the file as their image file, one in another.
absl::StatusOr<ImageInfo> Inspect(FileSystem& file_system, const File& file,
                                  const std::string& format, size_t depth);

// What a data file has to say of the disk: its size, and what it occupies.
absl::Status AddDataFile(FileSystem& file_system, const ImageLink& link,
                         size_t depth, ImageInfo& info) {
  if (!IsImage(link)) {
    ASSIGN_OR_RETURN(const FileStat stat, file_system.Stat(link.path));
    info.virtual_size = stat.size;
    info.allocated_bytes += stat.allocated_bytes;
    return absl::OkStatus();
  }
  if (depth == kMaxChainFiles) {
    return MakeError(ELOOP, absl::StrCat("stands inside more than ",
                                         kMaxChainFiles, " others"));
  }
  ASSIGN_OR_RETURN(const auto file,
                   file_system.Open(link.path, Access::kReadOnly));
  ASSIGN_OR_RETURN(const ImageInfo inner,
                   Inspect(file_system, *file, link.format, depth + 1));
  info.virtual_size = inner.virtual_size;
  info.allocated_bytes += inner.allocated_bytes;
  return absl::OkStatus();
}

absl::StatusOr<ImageInfo> Inspect(FileSystem& file_system, const File& file,
                                  const std::string& format, size_t depth) {
  ASSIGN_OR_RETURN(const FormatDriver* const driver, FormatOf(file, format));
  ASSIGN_OR_RETURN(const FormatHeader header, driver->read_header(file));
  ImageInfo info = MakeImageInfo(file, *driver, header);
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  info.allocated_bytes = stat.allocated_bytes;
  if (header.data_file.has_value()) {
    const absl::Status added =
        AddDataFile(file_system, *header.data_file, depth, info);
    if (!added.ok()) {
      return AnnotateLink(added, file, DataFileRole(*driver),
                          *header.data_file);
    }
    info.virtual_size = header.virtual_size.value_or(info.virtual_size);
  }
  return info;
}

}  // namespace

absl::StatusOr<ImageInfo> InspectImage(FileSystem& file_system,
                                       const File& file,
                                       const std::string& format) {
  return Inspect(file_system, file, format, 0);
}

absl::StatusOr<std::string> ProbeFormat(const File& file) {
  ASSIGN_OR_RETURN(const FormatDriver* const driver, FormatByMagic(file));
  return std::string(driver->name);
}

}  // namespace flatcow
