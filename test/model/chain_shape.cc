// SPDX-License-Identifier: Apache-2.0
#include "model/chain_shape.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "flatcow/image_ops.h"
#include "model/disk_model.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

// Some clusters, none of them aligned.
void WriteStripes(MemoryFileSystem& files, const std::string& path,
                  size_t level, uint64_t cluster_size,
                  std::vector<uint8_t>& content) {
  const auto image = Must(OpenImage(files, path, Writable()));
  const std::vector<uint8_t> data = Pattern(level, cluster_size);
  for (uint64_t at = level * 1000; at + data.size() < content.size();
       at += 3 * cluster_size) {
    Must(image->Write(at, data).status());
    std::copy(data.begin(), data.end(),
              content.begin() + static_cast<ptrdiff_t>(at));
  }
  Must(image->Flush());
}

}  // namespace

std::vector<uint8_t> MakeChain(MemoryFileSystem& files,
                               const ChainShape& shape) {
  const uint64_t disk_size = shape.disk_size();
  std::vector<uint8_t> content(disk_size, 0);
  std::string below;
  std::string below_format;
  if (shape.base_clusters != 0) {
    const std::vector<uint8_t> base = Pattern(
        0xba5e, shape.base_clusters * shape.cluster_size + shape.base_odd);
    files.SetContents("/disks/base.raw", std::string(base.begin(), base.end()));
    std::copy_n(base.begin(), std::min(base.size(), content.size()),
                content.begin());
    below = "base.raw";
    below_format = "raw";
  }
  for (size_t level = shape.formats.size(); level-- > 0;) {
    const std::string path =
        level == 0 ? kChainImage : absl::StrCat("/disks/level", level);
    NewImage image;
    image.data_file_raw = shape.formats[level] == kDataFileIsDisk;
    image.format = image.data_file_raw ? "qcow2" : shape.formats[level];
    image.size = disk_size;
    image.backing_file = below;
    image.backing_format = below_format;
    if (image.format != "raw") image.cluster_size = shape.cluster_size;
    if (image.format == "add-cow" || image.format == "qcow2") {
      // What unallocated clusters hold must never show.
      image.data_file = absl::StrCat("image", level);
      const std::string garbage = PatternText(0xbad, disk_size);
      files.SetContents(absl::StrCat("/disks/image", level),
                        below.empty() && image.format == "add-cow"
                            ? std::string(disk_size, '\0')
                            : garbage);
    }
    if (image.data_file_raw) {
      const std::string disk =
          files.Contents(absl::StrCat("/disks/image", level));
      content.assign(disk.begin(), disk.end());
    }
    Make(files, path, image);
    if (level != 0) {
      WriteStripes(files, path, level, shape.cluster_size, content);
    }
    below = path.substr(path.rfind('/') + 1);
    below_format = image.format;
  }
  return content;
}

}  // namespace flatcow
