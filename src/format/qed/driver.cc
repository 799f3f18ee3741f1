// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cerrno>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/header_room.h"
#include "format/link_name.h"
#include "format/load_header.h"
#include "format/qed/check.h"
#include "format/qed/create.h"
#include "format/qed/header.h"
#include "format/qed/layer.h"
#include "format/registry.h"

namespace flatcow {
namespace qed {
namespace {

struct OpenHeader {
  Header header;
  uint64_t file_size;
};

absl::StatusOr<OpenHeader> ReadRawHeader(const File& file) {
  ASSIGN_OR_RETURN(const Header header,
                   LoadHeaderOf<kHeaderBytes>(file, ParseHeader));
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  return OpenHeader{header, stat.size};
}

absl::StatusOr<FormatHeader> ReadHeader(const File& file) {
  ASSIGN_OR_RETURN(const OpenHeader open, ReadRawHeader(file));
  const Header& header = open.header;
  FormatHeader result;
  result.virtual_size = header.image_size;
  result.cluster_size = header.cluster_size;
  result.needs_check = (header.features & kFeatureNeedCheck) != 0;
  if ((header.features & kFeatureBackingFile) != 0) {
    ASSIGN_OR_RETURN(std::string name,
                     ReadLinkName(file, "QED header: backing file name",
                                  header.backing_filename_offset,
                                  header.backing_filename_size));
    const bool no_probe = (header.features & kFeatureBackingFormatNoProbe) != 0;
    std::string path = ResolveLinkName(file.path(), name);
    result.backing = ImageLink{.name = std::move(name),
                               .path = std::move(path),
                               .format = no_probe ? "raw" : ""};
  }
  return result;
}

// What must be on disk before the first write.
absl::Status PrepareForWriting(File& file, const Header& header) {
  if ((header.features & kFeatureNeedCheck) != 0) {
    CheckResult found;
    RETURN_IF_ERROR(Check(file, header, Repair::kNone, found));
    // A disk that fails for a moment is no reason to repair anything.
    if (found.check_errors != 0) {
      return MakeError(
          EIO,
          absl::StrCat(file.path(), ": the image was not closed cleanly and ",
                       found.check_errors, " of its tables can't be read (",
                       found.problems.front(), ")"));
    }
    if (found.corruptions != 0) {
      return MakeError(
          EROFS,
          absl::StrCat(file.path(), ": the image was not closed cleanly and ",
                       found.corruptions,
                       " of its table entries are bad: it can only be read "
                       "until flatcow-img check -r all has repaired it"));
    }
    RETURN_IF_ERROR(Check(file, header, Repair::kLeaks, found));
  }
  // No autoclear bit is known, so each says something that a write makes false.
  if (header.autoclear_features != 0) {
    std::array<uint8_t, sizeof(uint64_t)> zero{};
    const iovec piece{zero.data(), zero.size()};
    RETURN_IF_ERROR(
        file.Write(kAutoclearOffset, absl::MakeConstSpan(&piece, 1)));
    RETURN_IF_ERROR(file.Sync());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Layer>> OpenLayer(File& file, File*,
                                                 const LayerOptions& options) {
  ASSIGN_OR_RETURN(OpenHeader open, ReadRawHeader(file));
  if (options.writable) {
    RETURN_IF_ERROR(PrepareForWriting(file, open.header));
    // Leaks may have been cut off.
    ASSIGN_OR_RETURN(open, ReadRawHeader(file));
  }
  return QedLayer::Open(file, open.header, open.file_size, options);
}

absl::Status Record(File& file, const std::optional<ImageLink>& backing,
                    const std::optional<ImageLink>&) {
  ASSIGN_OR_RETURN(OpenHeader open, ReadRawHeader(file));
  Header& header = open.header;
  HeaderRoom room({kHeaderBytes, header.header_bytes() - kHeaderBytes});
  room.Take({header.backing_filename_offset, header.backing_filename_size});
  header.features &= ~(kFeatureBackingFile | kFeatureBackingFormatNoProbe);
  header.backing_filename_offset = 0;
  header.backing_filename_size = 0;
  // No autoclear bit is known, so each says something that may be false now.
  header.autoclear_features = 0;
  if (backing.has_value()) {
    if (backing->name.size() > kMaxBackingNameBytes) {
      return MakeError(ENAMETOOLONG,
                       absl::StrCat(file.path(), ": backing file name of ",
                                    backing->name.size(), " bytes: at most ",
                                    kMaxBackingNameBytes));
    }
    ASSIGN_OR_RETURN(header.backing_filename_offset,
                     room.Place(file, backing->name));
    header.backing_filename_size = static_cast<uint32_t>(backing->name.size());
    header.features |= kFeatureBackingFile;
    if (backing->format == "raw") {
      header.features |= kFeatureBackingFormatNoProbe;
    }
    RETURN_IF_ERROR(file.Sync());
  }
  auto bytes = SerializeHeader(header);
  const iovec piece{bytes.data(), bytes.size()};
  RETURN_IF_ERROR(file.Write(0, absl::MakeConstSpan(&piece, 1)));
  return file.Sync();
}

// Of the tables nothing is left but an empty L1 table.
absl::Status Empty(File& file, File*) {
  ASSIGN_OR_RETURN(const OpenHeader open, ReadRawHeader(file));
  const Extent l1{open.header.l1_table_offset, open.header.table_bytes()};
  RETURN_IF_ERROR(file.Zero(l1));
  RETURN_IF_ERROR(file.Sync());
  RETURN_IF_ERROR(file.Truncate(l1.end()));
  return file.Sync();
}

DiskShape Shape(const CreateOptions& options) {
  const uint64_t table_bytes =
      uint64_t{options.table_size} * options.cluster_size;
  return DiskShape{
      .fixed_bytes = options.cluster_size + table_bytes,
      .cluster_size = options.cluster_size,
      .table_reach = table_bytes / sizeof(uint64_t) * options.cluster_size,
      .table_bytes = table_bytes};
}

absl::Status CheckFile(File& file, File*, Repair repair, CheckResult& result) {
  ASSIGN_OR_RETURN(const OpenHeader open, ReadRawHeader(file));
  return Check(file, open.header, repair, result);
}

}  // namespace
}  // namespace qed

const FormatDriver kQedFormat = {
    .name = "qed",
    .probe = qed::HasMagic,
    .read_header = qed::ReadHeader,
    .open = qed::OpenLayer,
    .create = qed::Create,
    .check_create = qed::CheckCreate,
    .shape = qed::Shape,
    .record = qed::Record,
    .mark_flat = nullptr,
    .empty = qed::Empty,
    .upgrade = nullptr,
    .check = qed::CheckFile,
};

}  // namespace flatcow
