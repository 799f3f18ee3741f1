// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QED_GEOMETRY_H_
#define FLATCOW_FORMAT_QED_GEOMETRY_H_

#include <bit>
#include <cstdint>

#include "format/qed/header.h"
#include "format/table_geometry.h"

namespace flatcow::qed {

// The two values of an L2 entry that are not offsets.
inline constexpr uint64_t kUnallocated = 0;
inline constexpr uint64_t kZeroCluster = 1;

inline TableGeometry GeometryOf(const Header& header) {
  return TableGeometry({.cluster_bits = std::countr_zero(header.cluster_size),
                        .entry_bits = std::countr_zero(header.table_entries()),
                        .header_bytes = header.header_bytes(),
                        .l1 = {header.l1_table_offset, header.table_bytes()}});
}

}  // namespace flatcow::qed

#endif  // FLATCOW_FORMAT_QED_GEOMETRY_H_
