// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/writable.h"

#include <cerrno>
#include <utility>

#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/qcow2/build_metadata.h"
#include "format/qcow2/metadata_map.h"
#include "io/syncer.h"

namespace flatcow::qcow2 {

std::string WhyReadOnly(const Header& header) {
  if (!header.has_data_file()) {
    return "a qcow2 image is written only when its clusters are in an external "
           "data file";
  }
  if ((header.incompatible & kIncompatibleCorrupt) != 0) {
    return "the image is marked as corrupt (incompatible bit 1): run "
           "flatcow-img check -r all";
  }
  return "";
}

absl::StatusOr<Header> PrepareForWriting(File& file, File& data_file,
                                         const Header& header) {
  ASSIGN_OR_RETURN(const FileStat data_stat, data_file.Stat());
  if (data_stat.size < header.size) {
    RETURN_IF_ERROR(data_file.Truncate(header.size));
  }
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  ASSIGN_OR_RETURN(MetadataMap map, ReadMetadataMap(file, header, stat.size));
  Header next = header;
  next.incompatible &= ~kIncompatibleDirty;
  next.autoclear &= kAutoclearDataFileRaw;
  // Bitmaps that are lost give their clusters back.
  const bool drops_something = ((header.incompatible & kIncompatibleDirty) |
                                (header.autoclear & kAutoclearBitmaps)) != 0;
  bool sound =
      !drops_something && HasRoomFor(header, map, header.size, stat.size);
  if (sound) {
    ASSIGN_OR_RETURN(sound, AreInUse(file, header, map, stat.size));
  }
  if (drops_something) map.bitmap_clusters.clear();
  Syncer syncer;
  if (!sound) {
    auto built = BuildMetadata(file, next, std::move(map), header.size, syncer);
    if (ErrnoOf(built.status()) == EFBIG) {
      return MakeError(EROFS, built.status().message());
    }
    ASSIGN_OR_RETURN(next, std::move(built));
  }
  if (next != header) {
    RETURN_IF_ERROR(WriteHeaderFields(file, header, next, syncer));
  }
  return next;
}

}  // namespace flatcow::qcow2
