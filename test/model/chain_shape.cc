// SPDX-License-Identifier: Apache-2.0
#include "model/chain_shape.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "flatcow/image_ops.h"
#include "format/qcow2/header.h"
#include "model/disk_model.h"
#include "model/draft_image.h"
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

std::optional<Draft> DraftOf(const std::string& format) {
  if (format == "june2012") return Draft::kJune2012;
  if (format == "july2012") return Draft::kJuly2012;
  return std::nullopt;
}

// The image file of an add-cow image, which is named `name`; `format` is its
// own. Where it may be, it is full of garbage, which must never show.
void MakeImageFile(MemoryFileSystem& files, const std::string& name,
                   const std::string& format, const ChainShape& shape,
                   bool may_be_garbage) {
  const std::string path = absl::StrCat("/disks/", name);
  const uint64_t size = shape.disk_size();
  const std::string garbage = PatternText(0xbad, size);
  if (format.empty()) {
    files.SetContents(path, may_be_garbage ? garbage : std::string(size, '\0'));
    return;
  }
  NewImage image{.format = format, .size = size};
  image.cluster_size = shape.cluster_size;
  if (may_be_garbage) {
    files.SetContents(absl::StrCat("/disks/garbage-of-", name), garbage);
    image.backing_file = absl::StrCat("garbage-of-", name);
    image.backing_format = "raw";
  }
  if (format == "add-cow" || format == "qcow2") {
    image.data_file = name + ".data";
    MakeImageFile(files, image.data_file, "", shape,
                  may_be_garbage || format == "qcow2");
  }
  Make(files, path, image);
}

}  // namespace

void AddSubclusters(FileSystem& files, const std::string& path) {
  constexpr uint64_t kLastFeatureByte = qcow2::kIncompatibleOffset + 7;
  constexpr char kFeatures = static_cast<char>(qcow2::kIncompatibleDataFile |
                                               qcow2::kIncompatibleExtendedL2);
  PokeFile(files, path, kLastFeatureByte, std::string(1, kFeatures));
}

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
    const std::optional<Draft> draft = DraftOf(shape.formats[level]);
    const std::vector<std::string> parts =
        absl::StrSplit(shape.formats[level], '/');
    image.data_file_raw = parts[0] == kDataFileIsDisk;
    const bool subclusters = parts[0] == kWithSubclusters;
    image.format = draft.has_value()                    ? "add-cow"
                   : image.data_file_raw || subclusters ? "qcow2"
                                                        : parts[0];
    image.size = disk_size;
    image.backing_file = below;
    image.backing_format = below_format;
    if (image.format != "raw") image.cluster_size = shape.cluster_size;
    if (image.format == "add-cow" || image.format == "qcow2") {
      image.data_file = absl::StrCat("image", level);
      if (parts.size() > 1) image.data_format = parts[1];
      MakeImageFile(files, image.data_file, image.data_format, shape,
                    !below.empty() || image.format == "qcow2");
    }
    if (image.data_file_raw) {
      const std::string disk =
          files.Contents(absl::StrCat("/disks/", image.data_file));
      content.assign(disk.begin(), disk.end());
    }
    Make(files, path, image);
    if (draft.has_value()) TurnIntoDraft(files, path, *draft);
    if (subclusters) AddSubclusters(files, path);
    if (level != 0) {
      WriteStripes(files, path, level, shape.cluster_size, content);
    }
    below = path.substr(path.rfind('/') + 1);
    below_format = image.format;
  }
  return content;
}

}  // namespace flatcow
