// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/link_name.h"
#include "format/qcow2/check.h"
#include "format/qcow2/create.h"
#include "format/qcow2/data_file_layer.h"
#include "format/qcow2/extensions.h"
#include "format/qcow2/header.h"
#include "format/qcow2/l2_entry.h"
#include "format/qcow2/layer.h"
#include "format/qcow2/record.h"
#include "format/qcow2/writable.h"
#include "format/registry.h"

namespace flatcow {
namespace qcow2 {
namespace {

// The text of an extension; empty: there is none.
absl::StatusOr<std::string> ReadText(const File& file,
                                     const Extensions& extensions,
                                     uint32_t type, absl::string_view field) {
  const Extensions::Item* const item = extensions.Find(type);
  if (item == nullptr) return std::string();
  return ReadLinkName(file, field, item->data.offset,
                      static_cast<uint32_t>(item->data.length));
}

absl::Status FindBacking(const File& file, const Header& header,
                         const Extensions& extensions, FormatHeader& result) {
  if (header.backing_name_offset == 0 || header.backing_name_size == 0) {
    return absl::OkStatus();
  }
  ImageLink link;
  ASSIGN_OR_RETURN(
      link.name,
      ReadLinkName(file, "qcow2 header: backing file name",
                   header.backing_name_offset, header.backing_name_size));
  link.path = ResolveLinkName(file.path(), link.name);
  ASSIGN_OR_RETURN(link.format,
                   ReadText(file, extensions, kExtensionBackingFormat,
                            "qcow2 header extension: backing file format"));
  result.backing = std::move(link);
  return absl::OkStatus();
}

absl::Status FindDataFile(const File& file, const Header& header,
                          const Extensions& extensions, FormatHeader& result) {
  ASSIGN_OR_RETURN(std::string name,
                   ReadText(file, extensions, kExtensionDataFileName,
                            "qcow2 header extension: data file name"));
  if (header.has_data_file() == name.empty()) {
    return MakeError(
        EINVAL, absl::StrCat(
                    file.path(), ": qcow2 header: ",
                    name.empty()
                        ? "incompatible bit 2 says that there is an external "
                          "data file, but no extension has its name; "
                          "qemu-img amend -o data_file=NAME records it"
                        : "an extension names an external data file, but "
                          "incompatible bit 2 is clear; the image is damaged"));
  }
  if (name.empty()) return absl::OkStatus();
  std::string path = ResolveLinkName(file.path(), name);
  result.data_file = ImageLink{
      .name = std::move(name), .path = std::move(path), .format = "raw"};
  return absl::OkStatus();
}

Qcow2Info Describe(const Header& header) {
  return Qcow2Info{
      .version = static_cast<int>(header.version),
      .refcount_bits = header.refcount_bits(),
      .lazy_refcounts = (header.compatible & kCompatibleLazyRefcounts) != 0,
      .corrupt = (header.incompatible & kIncompatibleCorrupt) != 0,
      .extended_l2 = header.extended_l2(),
      .data_file_raw = header.data_file_raw(),
      .compression_type =
          header.compression_type == kCompressionZstd ? "zstd" : "zlib"};
}

absl::StatusOr<FormatHeader> ReadHeader(const File& file) {
  ASSIGN_OR_RETURN(const Header header, LoadHeader(file));
  ASSIGN_OR_RETURN(const Extensions extensions, ReadExtensions(file, header));
  FormatHeader result;
  result.virtual_size = header.size;
  result.cluster_size = static_cast<uint32_t>(header.cluster_size());
  result.needs_check = (header.incompatible & kIncompatibleDirty) != 0;
  result.read_only = WhyReadOnly(header);
  result.qcow2 = Describe(header);
  RETURN_IF_ERROR(FindBacking(file, header, extensions, result));
  RETURN_IF_ERROR(FindDataFile(file, header, extensions, result));
  return result;
}

absl::StatusOr<std::unique_ptr<Layer>> OpenLayer(File& file, File* data_file,
                                                 const LayerOptions& options) {
  ASSIGN_OR_RETURN(const Header header, LoadHeader(file));
  if (!options.writable) {
    return Qcow2Layer::Open(file, data_file, header, options);
  }
  if (const std::string why = WhyReadOnly(header); !why.empty()) {
    return MakeError(EROFS, absl::StrCat(file.path(), ": ", why));
  }
  ASSIGN_OR_RETURN(const Header ready,
                   PrepareForWriting(file, *data_file, header));
  return DataFileLayer::Open(file, *data_file, ready, options);
}

absl::Status CheckWritten(const File& file, const Header& header) {
  if (header.has_data_file()) return absl::OkStatus();
  return MakeError(ENOTSUP,
                   absl::StrCat(file.path(),
                                ": of qcow2 images only those with an external "
                                "data file are checked and changed"));
}

absl::Status RecordNames(File& file, const std::optional<ImageLink>& backing,
                         const std::optional<ImageLink>& data_file) {
  ASSIGN_OR_RETURN(const Header header, LoadHeader(file));
  RETURN_IF_ERROR(CheckWritten(file, header));
  ASSIGN_OR_RETURN(const Extensions extensions, ReadExtensions(file, header));
  return Record(file, header, extensions, backing, data_file);
}

// Tables that nothing names lose their refcounts.
absl::Status Empty(File& file, File* data_file) {
  ASSIGN_OR_RETURN(const Header header, LoadHeader(file));
  RETURN_IF_ERROR(CheckWritten(file, header));
  RETURN_IF_ERROR(file.Zero(GeometryOf(header).l1_extent()));
  RETURN_IF_ERROR(file.Sync());
  CheckResult result;
  RETURN_IF_ERROR(Check(file, header, Repair::kAll, result));
  ASSIGN_OR_RETURN(const FileStat stat, data_file->Stat());
  return data_file->Zero({0, stat.size});
}

absl::Status CheckFile(File& file, File*, Repair repair, CheckResult& result) {
  ASSIGN_OR_RETURN(const Header header, LoadHeader(file));
  RETURN_IF_ERROR(CheckWritten(file, header));
  return Check(file, header, repair, result);
}

}  // namespace
}  // namespace qcow2

const FormatDriver kQcow2Format = {
    .name = "qcow2",
    .probe = qcow2::HasMagic,
    .read_header = qcow2::ReadHeader,
    .open = qcow2::OpenLayer,
    .create = qcow2::Create,
    .check_create = qcow2::CheckCreate,
    .shape = qcow2::Shape,
    .record = qcow2::RecordNames,
    .mark_flat = nullptr,
    .empty = qcow2::Empty,
    .check = qcow2::CheckFile,
};

}  // namespace flatcow
