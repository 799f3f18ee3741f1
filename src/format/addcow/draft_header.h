// SPDX-License-Identifier: Apache-2.0
//
// The add-cow header as two drafts of 2012 had it. They share the magic and the
// version; what stands at byte 44 tells them apart:
//
//   bytes   June                        July
//   12-27   offset and size of both names
//   28-35   features: 1 backing file,   1 backing file, 2 image file,
//           2 it is raw: don't probe    4 ALL_ALLOCATED
//   36-43   reserved, or names          optional features
//   44-47   reserved, or names          pages of the header: 1
//   48-79   reserved, or names          formats of backing and image file
//   80-     reserved, or names          names
//   4096    the bitmap                  the bitmap
#ifndef FLATCOW_FORMAT_ADDCOW_DRAFT_HEADER_H_
#define FLATCOW_FORMAT_ADDCOW_DRAFT_HEADER_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "flatcow/extent.h"
#include "format/addcow/header.h"

namespace flatcow::addcow {

inline constexpr uint64_t kDraftFeaturesOffset = 28;
inline constexpr uint64_t kDraftAllAllocated = 4;  // of July
// Names are written where they may stand in both: an image of June must not
// come to look like one of July. The last place that a name may begin at is
// 4094, so the last byte is left free.
inline constexpr Extent kDraftNameArea = {80, 4095 - 80};

bool HasDraftMagic(absl::Span<const uint8_t> bytes);

// ParseHeader() and SerializeHeader() of a draft.
absl::StatusOr<Header> ParseDraftHeader(absl::Span<const uint8_t> bytes,
                                        uint64_t file_size);
std::vector<uint8_t> SerializeDraftHeader(const Header& header);

}  // namespace flatcow::addcow

#endif  // FLATCOW_FORMAT_ADDCOW_DRAFT_HEADER_H_
