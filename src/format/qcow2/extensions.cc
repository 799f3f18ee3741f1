// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/extensions.h"

#include <array>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "io/read_to_end.h"

namespace flatcow::qcow2 {

const Extensions::Item* Extensions::Find(uint32_t type) const {
  for (auto item = items.rbegin(); item != items.rend(); ++item) {
    if (item->type == type) return &*item;
  }
  return nullptr;
}

absl::StatusOr<Extensions> ReadExtensions(const File& file,
                                          const Header& header) {
  const uint64_t area_end = header.backing_name_offset != 0
                                ? header.backing_name_offset
                                : header.cluster_size();
  Extensions result;
  result.end = header.header_length;
  while (result.end + kExtensionHeadBytes <= area_end) {
    std::array<uint8_t, kExtensionHeadBytes> head{};
    ASSIGN_OR_RETURN(const size_t got,
                     ReadToEnd(file, result.end, absl::MakeSpan(head)));
    const uint32_t type = LoadBig32(head.data());
    if (got < head.size() || type == kExtensionEnd) break;
    const uint32_t length = LoadBig32(&head[4]);
    const Extent data{result.end + kExtensionHeadBytes, length};
    if (length > area_end - data.offset) {
      return MakeError(
          EINVAL, absl::StrCat(file.path(), ": qcow2 header extension at byte ",
                               result.end, " has ", length,
                               " bytes, expected to end by byte ", area_end,
                               "; the image is damaged"));
    }
    result.items.push_back({type, data});
    // From its head on, wherever the header ends.
    result.end = data.offset + RoundUp(data.length, kExtensionHeadBytes);
  }
  return result;
}

}  // namespace flatcow::qcow2
