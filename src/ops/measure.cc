// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>

#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/registry.h"
#include "image/image_file.h"
#include "ops/segment_cursor.h"

namespace flatcow {
namespace {

// Counts the units of a disk in which there is data.
class UnitCounter {
 public:
  explicit UnitCounter(uint64_t unit) : unit_(unit) {}

  // Extents must come in order.
  void Add(Extent extent) {
    if (unit_ == 0) return;
    const uint64_t first = std::max(next_, extent.offset / unit_);
    const uint64_t end = DivideRoundingUp(extent.end(), unit_);
    if (first < end) count_ += end - first;
    next_ = std::max(next_, end);
  }
  uint64_t count() const { return count_; }

 private:
  const uint64_t unit_;
  uint64_t next_ = 0;
  uint64_t count_ = 0;
};

absl::StatusOr<DiskShape> ShapeOf(CreateOptions& target) {
  ASSIGN_OR_RETURN(const FormatDriver* const driver,
                   FormatByName(target.format));
  // No file of the kind is looked for.
  const bool needs_data_file =
      target.format == "add-cow" || target.format == "qcow2";
  if (needs_data_file && target.data_file.empty()) target.data_file = "image";
  CreateOptions inner{.format = target.data_format, .size = target.size};
  if (!IsImage({.name = {}, .path = {}, .format = inner.format})) {
    RETURN_IF_ERROR(driver->check_create(target));
    return driver->shape(target);
  }
  // Its clusters take space in its image file, and that in whole clusters of
  // both.
  ASSIGN_OR_RETURN(const DiskShape inside, ShapeOf(inner));
  target.size = inner.size;
  RETURN_IF_ERROR(driver->check_create(target));
  DiskShape shape = driver->shape(target);
  shape.fixed_bytes += inside.fixed_bytes;
  shape.cluster_size = std::max(shape.cluster_size, inside.cluster_size);
  shape.table_reach = inside.table_reach;
  shape.table_bytes = inside.table_bytes;
  return shape;
}

uint64_t Total(const DiskShape& shape, uint64_t clusters, uint64_t tables) {
  return shape.fixed_bytes + clusters * shape.cluster_size +
         tables * shape.table_bytes;
}

uint64_t Full(const DiskShape& shape, uint64_t size) {
  UnitCounter clusters(shape.cluster_size);
  UnitCounter tables(shape.table_reach);
  clusters.Add({0, size});
  tables.Add({0, size});
  return Total(shape, clusters.count(), tables.count());
}

}  // namespace

absl::StatusOr<Measurement> MeasureImage(FileSystem& file_system,
                                         const std::string& path,
                                         const MeasureOptions& options) {
  ASSIGN_OR_RETURN(const auto image,
                   OpenImage(file_system, path,
                             {.format = options.format,
                              .share_writes = options.share_writes}));
  CreateOptions target = options.target;
  target.size = image->Size();
  ASSIGN_OR_RETURN(const DiskShape shape, ShapeOf(target));
  UnitCounter clusters(shape.cluster_size);
  UnitCounter tables(shape.table_reach);
  SegmentCursor cursor(*image);
  for (uint64_t at = 0; at < image->Size();) {
    ASSIGN_OR_RETURN(const Segment segment, cursor.At(at));
    if (segment.kind == Segment::Kind::kData) {
      clusters.Add({at, segment.length});
      tables.Add({at, segment.length});
    }
    at += segment.length;
  }
  return Measurement{.required = Total(shape, clusters.count(), tables.count()),
                     .fully_allocated = Full(shape, *target.size)};
}

absl::StatusOr<Measurement> MeasureNewImage(const CreateOptions& target) {
  if (!target.size.has_value()) {
    return MakeError(EINVAL, "the size of the disk is needed");
  }
  CreateOptions checked = target;
  ASSIGN_OR_RETURN(const DiskShape shape, ShapeOf(checked));
  return Measurement{.required = Total(shape, 0, 0),
                     .fully_allocated = Full(shape, *checked.size)};
}

}  // namespace flatcow
