// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/addcow/bitmap.h"
#include "format/addcow/check.h"
#include "format/addcow/create.h"
#include "format/addcow/header.h"
#include "format/addcow/layer.h"
#include "format/addcow/upgrade.h"
#include "format/header_room.h"
#include "format/link_name.h"
#include "format/load_header.h"
#include "format/registry.h"

namespace flatcow {
namespace addcow {
namespace {

absl::StatusOr<Header> ReadRawHeader(const File& file) {
  return LoadHeaderOf<kParsedBytes>(file, ParseHeader);
}

absl::Status CheckImageFormat(const File& file, const Header& header) {
  return Annotate(
      FormatByName(header.image_format).status(),
      absl::StrCat(file.path(),
                   ": add-cow header: image file format (byte 60)"));
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
  result.is_older_layout = header.layout != Layout::kFinal;
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

absl::Status WriteHeader(File& file, const Header& header) {
  auto bytes = SerializeHeader(header);
  const iovec piece{bytes.data(), bytes.size()};
  RETURN_IF_ERROR(file.Write(0, absl::MakeConstSpan(&piece, 1)));
  return file.Sync();
}

absl::Status CheckLink(const File& file, const ImageLink& link,
                       bool needs_format) {
  if (link.name.empty() || link.name.size() > kMaxNameBytes) {
    return MakeError(link.name.empty() ? EINVAL : ENAMETOOLONG,
                     absl::StrCat(file.path(), ": a name of ", link.name.size(),
                                  " bytes can't be recorded, expected 1 to ",
                                  kMaxNameBytes));
  }
  if ((needs_format && link.format.empty()) ||
      link.format.size() > kFormatNameBytes) {
    return MakeError(EINVAL,
                     absl::StrCat(file.path(), ": the format of '", link.name,
                                  "' must be recorded: give it"));
  }
  return absl::OkStatus();
}

absl::Status Record(File& file, const std::optional<ImageLink>& backing,
                    const std::optional<ImageLink>& data_file) {
  ASSIGN_OR_RETURN(Header header, ReadRawHeader(file));
  const bool is_june = header.layout == Layout::kJune2012;
  HeaderRoom room(NameArea(header));
  room.Take({header.backing_name_offset, header.backing_name_size});
  room.Take({header.image_name_offset, header.image_name_size});
  RETURN_IF_ERROR(CheckLink(file, *data_file, /*needs_format=*/true));
  if (backing.has_value()) {
    RETURN_IF_ERROR(CheckLink(file, *backing, /*needs_format=*/!is_june));
  }
  header.image_format = data_file->format;
  RETURN_IF_ERROR(CheckImageFormat(file, header));
  if (is_june && header.image_format != "raw") {
    return MakeError(EINVAL,
                     absl::StrCat(file.path(),
                                  ": in the draft of June 2012 the "
                                  "image file is raw; amend -o "
                                  "compat=final makes room for others"));
  }
  ASSIGN_OR_RETURN(header.image_name_offset, room.Place(file, data_file->name));
  header.image_name_size = static_cast<uint32_t>(data_file->name.size());
  header.backing_name_offset = 0;
  header.backing_name_size = 0;
  header.backing_format.clear();
  if (backing.has_value()) {
    ASSIGN_OR_RETURN(header.backing_name_offset,
                     room.Place(file, backing->name));
    header.backing_name_size = static_cast<uint32_t>(backing->name.size());
    // June knows raw or nothing: magic finds the others again.
    const bool is_told = !is_june || backing->format == "raw";
    if (is_told) header.backing_format = backing->format;
  }
  RETURN_IF_ERROR(file.Sync());
  return WriteHeader(file, header);
}

// An image of June 2012 can't say it, but it can do without its backing file.
absl::Status MarkFlat(File& file, File& data_file) {
  ASSIGN_OR_RETURN(Header header, ReadRawHeader(file));
  if (header.all_allocated()) return absl::OkStatus();
  CheckResult found;
  RETURN_IF_ERROR(Check(file, data_file, header, Repair::kNone, found));
  if (found.allocated_clusters != found.total_clusters) {
    return MakeError(EINVAL,
                     absl::StrCat(file.path(), ": ", found.allocated_clusters,
                                  " of ", found.total_clusters,
                                  " clusters are allocated, expected all"));
  }
  if (header.layout == Layout::kJune2012) {
    ASSIGN_OR_RETURN(const FormatHeader links, ReadHeader(file));
    if (!links.backing.has_value()) return absl::OkStatus();
    return Record(file, std::nullopt, links.data_file);
  }
  header.set_all_allocated(true);
  return WriteHeader(file, header);
}

// The bitmap first: with ALL_ALLOCATED it is not looked at.
absl::Status Empty(File& file, File* data_file) {
  ASSIGN_OR_RETURN(Header header, ReadRawHeader(file));
  ASSIGN_OR_RETURN(const FileStat stat, data_file->Stat());
  RETURN_IF_ERROR(file.Truncate(header.header_size));
  RETURN_IF_ERROR(file.Truncate(header.header_size +
                                BitmapBytes(stat.size, header.cluster_size())));
  RETURN_IF_ERROR(file.Sync());
  if (header.all_allocated()) {
    header.set_all_allocated(false);
    RETURN_IF_ERROR(WriteHeader(file, header));
  }
  return data_file->Zero({0, stat.size});
}

absl::Status UpgradeFile(const File& file, const CreateOptions& options,
                         File& target) {
  ASSIGN_OR_RETURN(const Header header, ReadRawHeader(file));
  return Upgrade(file, header, options, target);
}

// The image file is as long as the disk.
DiskShape Shape(const CreateOptions& options) {
  const uint64_t header_size = HeaderSize(options.cluster_size);
  return DiskShape{
      .fixed_bytes =
          header_size + BitmapBytes(*options.size, options.cluster_size),
      .cluster_size = options.cluster_size};
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
    .shape = addcow::Shape,
    .record = addcow::Record,
    .mark_flat = addcow::MarkFlat,
    .empty = addcow::Empty,
    .upgrade = addcow::UpgradeFile,
    .check = addcow::CheckFile,
};

}  // namespace flatcow
