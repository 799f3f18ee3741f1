// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cerrno>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/addcow/check.h"
#include "format/addcow/create.h"
#include "format/addcow/header.h"
#include "format/addcow/layer.h"
#include "format/link_name.h"
#include "format/registry.h"
#include "io/read_to_end.h"

namespace flatcow {
namespace addcow {
namespace {

absl::StatusOr<Header> ReadRawHeader(const File& file) {
  std::array<uint8_t, kHeaderBytes> bytes{};
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  ASSIGN_OR_RETURN(const size_t length,
                   ReadToEnd(file, 0, absl::MakeSpan(bytes)));
  auto header =
      ParseHeader(absl::MakeConstSpan(bytes).first(length), stat.size);
  if (!header.ok()) return Annotate(header.status(), file.path());
  return header;
}

absl::Status CheckImageFormat(const File& file, const Header& header) {
  const auto driver = FormatByName(header.image_format);
  if (driver.ok() && *driver == &kRawFormat) return absl::OkStatus();
  constexpr absl::string_view kField =
      "add-cow header: image file format (byte 60)";
  if (!driver.ok()) {
    return Annotate(driver.status(), absl::StrCat(file.path(), ": ", kField));
  }
  return MakeError(
      ENOTSUP,
      absl::StrCat(file.path(), ": ", kField, " is ", header.image_format,
                   ", which this version does not support for an "
                   "image file; supported is raw"));
}

absl::StatusOr<ImageLink> ReadLink(const File& file, absl::string_view field,
                                   uint64_t offset, uint32_t size,
                                   std::string format) {
  ASSIGN_OR_RETURN(std::string name, ReadLinkName(file, field, offset, size));
  std::string path = ResolveLinkName(file.path(), name);
  return ImageLink{.name = std::move(name),
                   .path = std::move(path),
                   .format = std::move(format)};
}

absl::StatusOr<FormatHeader> ReadHeader(const File& file) {
  ASSIGN_OR_RETURN(const Header header, ReadRawHeader(file));
  RETURN_IF_ERROR(CheckImageFormat(file, header));
  FormatHeader result;
  result.cluster_size = static_cast<uint32_t>(header.cluster_size());
  result.all_allocated = header.all_allocated();
  result.ignores_backing = header.all_allocated();
  ASSIGN_OR_RETURN(result.data_file,
                   ReadLink(file, "add-cow header: image file name",
                            header.image_name_offset, header.image_name_size,
                            header.image_format));
  if (header.backing_name_offset != 0) {
    ASSIGN_OR_RETURN(result.backing,
                     ReadLink(file, "add-cow header: backing file name",
                              header.backing_name_offset,
                              header.backing_name_size, header.backing_format));
  }
  return result;
}

absl::StatusOr<std::unique_ptr<Layer>> OpenLayer(File& file, File* data_file,
                                                 const LayerOptions& options) {
  ASSIGN_OR_RETURN(const Header header, ReadRawHeader(file));
  return AddCowLayer::Open(file, *data_file, header, options.cache);
}

absl::Status CheckFile(File& file, File* data_file, Repair repair,
                       CheckResult& result) {
  ASSIGN_OR_RETURN(const Header header, ReadRawHeader(file));
  if (data_file == nullptr) {
    return MakeError(ENOENT,
                     absl::StrCat(file.path(),
                                  ": the size of an add-cow image is that of "
                                  "its image file, which can't be opened"));
  }
  return Check(file, *data_file, header, repair, result);
}

}  // namespace
}  // namespace addcow

const FormatDriver kAddCowFormat = {
    .name = "add-cow",
    .probe = addcow::HasMagic,
    .read_header = addcow::ReadHeader,
    .open = addcow::OpenLayer,
    .create = addcow::Create,
    .check_create = addcow::CheckCreate,
    .check = addcow::CheckFile,
};

}  // namespace flatcow
