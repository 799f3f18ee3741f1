// SPDX-License-Identifier: Apache-2.0
//
// Images written out byte by byte, to be damaged: unlike CreateImage, nothing
// here minds what it writes.
#ifndef FLATCOW_TEST_FORMAT_RAW_IMAGES_H_
#define FLATCOW_TEST_FORMAT_RAW_IMAGES_H_

#include <cstdint>
#include <string>

#include "format/addcow/header.h"
#include "format/qed/header.h"
#include "model/image_testing.h"

namespace flatcow {

// A small QED image with two header clusters:
//
//   cluster  0 1     header, the backing name at 64
//            2 3     L1: entry 0 is the table at cluster 4
//            4 5     L2: 0 and 1 are data, 2 is zero, the rest unallocated
//            6 7     data: all 'A', all 'B'
//
// A table reaches 4 MiB; the disk has 8 MiB.
struct RawQed {
  static constexpr uint64_t kCluster = 4096;
  static constexpr uint64_t kL1 = 2 * kCluster;
  static constexpr uint64_t kL2 = 4 * kCluster;
  static constexpr uint64_t kData = 6 * kCluster;
  static constexpr uint64_t kEnd = 8 * kCluster;
  static constexpr uint64_t kTableReach = 4 << 20;

  qed::Header header = {.cluster_size = kCluster,
                        .table_size = 2,
                        .header_size = 2,
                        .features = 0,
                        .compat_features = 0,
                        .autoclear_features = 0,
                        .l1_table_offset = kL1,
                        .image_size = 2 * kTableReach,
                        .backing_filename_offset = 0,
                        .backing_filename_size = 0};

  // `backing` is recorded, raw when `raw_backing` is set.
  std::string Bytes(const std::string& backing = "", bool raw_backing = true) {
    if (!backing.empty()) {
      header.features |= qed::kFeatureBackingFile;
      if (raw_backing) header.features |= qed::kFeatureBackingFormatNoProbe;
      header.backing_filename_offset = qed::kHeaderBytes;
      header.backing_filename_size = static_cast<uint32_t>(backing.size());
    }
    std::string bytes(kEnd, '\0');
    const auto head = qed::SerializeHeader(header);
    Overwrite(bytes, 0, std::string(head.begin(), head.end()));
    Overwrite(bytes, qed::kHeaderBytes, backing);
    Overwrite(bytes, kL1, Little64(kL2));
    Overwrite(bytes, kL2,
              Little64(kData) + Little64(kData + kCluster) + Little64(1));
    Overwrite(bytes, kData,
              std::string(kCluster, 'A') + std::string(kCluster, 'B'));
    return bytes;
  }
};

// An add-cow image with 4 KiB clusters: the header and one cluster of bitmap,
// of which `bits` is the start.
struct RawAddCow {
  static constexpr uint64_t kCluster = 4096;

  std::string backing = "base";  // empty: none
  std::string backing_format = "raw";
  std::string image = "img";
  std::string image_format = "raw";
  std::string bits = std::string("\x03", 1);

  std::string Bytes() const {
    addcow::Header header;
    header.cluster_bits = 12;
    header.header_size = kCluster;
    header.image_format = image_format;
    header.image_name_offset = addcow::kHeaderBytes;
    header.image_name_size = static_cast<uint32_t>(image.size());
    if (!backing.empty()) {
      header.backing_format = backing_format;
      header.backing_name_offset = addcow::kHeaderBytes;
      header.backing_name_size = static_cast<uint32_t>(backing.size());
      header.image_name_offset += header.backing_name_size;
    }
    std::string bytes(2 * kCluster, '\0');
    const auto head = addcow::SerializeHeader(header);
    Overwrite(bytes, 0, std::string(head.begin(), head.end()));
    Overwrite(bytes, addcow::kHeaderBytes, backing + image);
    Overwrite(bytes, kCluster, bits);
    return bytes;
  }
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_FORMAT_RAW_IMAGES_H_
