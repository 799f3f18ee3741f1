// SPDX-License-Identifier: Apache-2.0
//
// Header extensions: type, length, data, padded to 8 bytes; up to one of type
// 0, or to the name of the backing file, or to the end of the first cluster.
#ifndef FLATCOW_FORMAT_QCOW2_EXTENSIONS_H_
#define FLATCOW_FORMAT_QCOW2_EXTENSIONS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "flatcow/extent.h"
#include "flatcow/file.h"
#include "format/qcow2/header.h"

namespace flatcow::qcow2 {

inline constexpr uint32_t kExtensionEnd = 0;
inline constexpr uint32_t kExtensionBackingFormat = 0xe2792aca;
inline constexpr uint32_t kExtensionDataFileName = 0x44415441;
inline constexpr uint64_t kExtensionHeadBytes = 8;

struct Extensions {
  struct Item {
    uint32_t type = 0;
    Extent data;  // in the file
  };
  std::vector<Item> items;
  uint64_t end = 0;  // where the next one would be

  // The last of a type is the one that counts.
  const Item* Find(uint32_t type) const;
};

// Errors: EINVAL for one that goes past the end of its area.
absl::StatusOr<Extensions> ReadExtensions(const File& file,
                                          const Header& header);

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_EXTENSIONS_H_
