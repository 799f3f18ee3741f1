// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/record.h"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/header_room.h"
#include "format/link_name.h"
#include "io/read_to_end.h"

namespace flatcow::qcow2 {
namespace {

constexpr uint64_t kSectorBytes = 512;
constexpr uint32_t kExtensionFeatureNames = 0x6803f857;

struct Text {
  uint32_t type = 0;
  std::string data;
};

// The extensions as they are to be, the backing format first.
absl::StatusOr<std::vector<Text>> NewExtensions(
    const File& file, const Extensions& extensions,
    const std::optional<ImageLink>& backing, const ImageLink& data_file) {
  std::vector<Text> texts;
  if (backing.has_value() && !backing->format.empty()) {
    texts.push_back({kExtensionBackingFormat, backing->format});
  }
  texts.push_back({kExtensionDataFileName, data_file.name});
  for (const Extensions::Item& item : extensions.items) {
    if (item.type == kExtensionBackingFormat ||
        item.type == kExtensionDataFileName ||
        item.type == kExtensionFeatureNames) {
      continue;
    }
    std::string data(item.data.length, '\0');
    RETURN_IF_ERROR(
        ReadToEnd(file, item.data.offset,
                  absl::MakeSpan(reinterpret_cast<uint8_t*>(data.data()),
                                 data.size()))
            .status());
    texts.push_back({item.type, std::move(data)});
  }
  return texts;
}

// The first sector of the file with these extensions in it. Return values:
// where they end.
absl::StatusOr<uint64_t> PutExtensions(const File& file, const Header& header,
                                       const std::vector<Text>& texts,
                                       absl::Span<uint8_t> sector) {
  uint64_t end = header.header_length;
  for (const Text& text : texts) {
    end += kExtensionHeadBytes + RoundUp(text.data.size(), kExtensionHeadBytes);
  }
  end += kExtensionHeadBytes;
  if (end > sector.size()) {
    return MakeError(
        ENAMETOOLONG,
        absl::StrCat(file.path(), ": header and extensions would end at byte ",
                     end, ", expected at most ", sector.size(),
                     ": a shorter name of the data file would fit"));
  }
  uint64_t at = header.header_length;
  std::fill(sector.begin() + static_cast<ptrdiff_t>(at),
            sector.begin() + static_cast<ptrdiff_t>(end), 0);
  for (const Text& text : texts) {
    StoreBig32(&sector[at], text.type);
    StoreBig32(&sector[at + 4], static_cast<uint32_t>(text.data.size()));
    std::copy(text.data.begin(), text.data.end(),
              &sector[at + kExtensionHeadBytes]);
    at += kExtensionHeadBytes + RoundUp(text.data.size(), kExtensionHeadBytes);
  }
  return end;
}

absl::Status CheckLinks(const File& file, const Header& header,
                        const std::optional<ImageLink>& backing,
                        const ImageLink& data_file) {
  if (data_file.name.empty()) {
    return MakeError(EINVAL,
                     absl::StrCat(file.path(), ": the data file needs a name"));
  }
  if (data_file.format != "raw") {
    return MakeError(EINVAL, absl::StrCat(file.path(), ": data file format '",
                                          data_file.format, "': expected raw"));
  }
  if (!backing.has_value()) return absl::OkStatus();
  if (header.data_file_raw()) {
    return MakeError(EINVAL,
                     absl::StrCat(file.path(),
                                  ": the data file by itself is the disk "
                                  "(data-file-raw): no backing file is "
                                  "possible"));
  }
  if (backing->name.size() > kMaxBackingNameBytes) {
    return MakeError(ENAMETOOLONG,
                     absl::StrCat(file.path(), ": backing file name of ",
                                  backing->name.size(), " bytes: at most ",
                                  kMaxBackingNameBytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Record(File& file, const Header& header,
                    const Extensions& extensions,
                    const std::optional<ImageLink>& backing,
                    const std::optional<ImageLink>& data_file) {
  RETURN_IF_ERROR(CheckLinks(file, header, backing, *data_file));
  std::array<uint8_t, kSectorBytes> bytes{};
  ASSIGN_OR_RETURN(const size_t length,
                   ReadToEnd(file, 0, absl::MakeSpan(bytes)));
  const absl::Span<uint8_t> sector = absl::MakeSpan(bytes).first(length);
  ASSIGN_OR_RETURN(const std::vector<Text> texts,
                   NewExtensions(file, extensions, backing, *data_file));
  ASSIGN_OR_RETURN(const uint64_t end,
                   PutExtensions(file, header, texts, sector));
  uint64_t name_offset = 0;
  if (backing.has_value()) {
    HeaderRoom room({end, header.cluster_size() - end});
    room.Take({header.header_length,
               extensions.end + kExtensionHeadBytes - header.header_length});
    room.Take({header.backing_name_offset, header.backing_name_size});
    ASSIGN_OR_RETURN(name_offset, room.Place(file, backing->name));
    RETURN_IF_ERROR(file.Sync());
    // What of the name is in the first sector stays.
    for (size_t i = 0; i < backing->name.size(); ++i) {
      if (name_offset + i >= sector.size()) break;
      sector[name_offset + i] = static_cast<uint8_t>(backing->name[i]);
    }
  }
  StoreBig64(&sector[8], name_offset);
  StoreBig32(&sector[16], backing.has_value()
                              ? static_cast<uint32_t>(backing->name.size())
                              : 0);
  StoreBig64(&sector[kAutoclearOffset],
             header.autoclear & (kAutoclearBitmaps | kAutoclearDataFileRaw));
  const iovec piece{sector.data(), sector.size()};
  RETURN_IF_ERROR(file.Write(0, absl::MakeConstSpan(&piece, 1)));
  return file.Sync();
}

}  // namespace flatcow::qcow2
