// SPDX-License-Identifier: Apache-2.0
//
// Headers of overlays as qemu-img and flatcow-img make them.
#ifndef FLATCOW_BENCH_SAMPLE_HEADERS_H_
#define FLATCOW_BENCH_SAMPLE_HEADERS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "format/addcow/header.h"
#include "format/qed/header.h"

namespace flatcow::bench {

// Of the files with these headers.
inline constexpr uint64_t kSampleFileBytes = 1 << 20;

inline std::array<uint8_t, qed::kHeaderBytes> SampleQedHeader() {
  qed::Header header;
  header.features = qed::kFeatureBackingFile;
  header.l1_table_offset = header.cluster_size;
  header.image_size = uint64_t{1} << 30;
  header.backing_filename_offset = qed::kHeaderBytes;
  header.backing_filename_size = 8;
  return qed::SerializeHeader(header);
}

inline std::vector<uint8_t> SampleAddCowHeader() {
  addcow::Header header;
  header.backing_name_offset = addcow::kHeaderBytes;
  header.backing_name_size = 8;
  header.image_name_offset = addcow::kHeaderBytes + 8;
  header.image_name_size = 7;
  header.backing_format = "raw";
  header.image_format = "raw";
  return addcow::SerializeHeader(header);
}

}  // namespace flatcow::bench

#endif  // FLATCOW_BENCH_SAMPLE_HEADERS_H_
