// SPDX-License-Identifier: Apache-2.0
#include "base/status_macros.h"
#include "flatcow/image.h"
#include "format/registry.h"
#include "image/image_info.h"

namespace flatcow {

ImageInfo MakeImageInfo(const File& file, const FormatDriver& driver,
                        const FormatHeader& header) {
  ImageInfo info;
  info.path = file.path();
  info.format = driver.name;
  info.virtual_size = header.virtual_size;
  info.cluster_size = header.cluster_size;
  info.backing = header.backing;
  info.data_file = header.data_file;
  info.needs_check = header.needs_check;
  info.all_allocated = header.all_allocated;
  info.read_only = header.read_only;
  info.qcow2 = header.qcow2;
  return info;
}

absl::StatusOr<ImageInfo> InspectImage(FileSystem& file_system,
                                       const File& file,
                                       const std::string& format) {
  ASSIGN_OR_RETURN(const FormatDriver* const driver, FormatOf(file, format));
  ASSIGN_OR_RETURN(const FormatHeader header, driver->read_header(file));
  ImageInfo info = MakeImageInfo(file, *driver, header);
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  info.allocated_bytes = stat.allocated_bytes;
  if (header.data_file.has_value()) {
    auto data = file_system.Stat(header.data_file->path);
    if (!data.ok()) {
      return AnnotateLink(data.status(), file, "image file", *header.data_file);
    }
    if (info.format == "add-cow") info.virtual_size = data->size;
    info.allocated_bytes += data->allocated_bytes;
  }
  return info;
}

absl::StatusOr<std::string> ProbeFormat(const File& file) {
  ASSIGN_OR_RETURN(const FormatDriver* const driver, FormatByMagic(file));
  return std::string(driver->name);
}

}  // namespace flatcow
