// SPDX-License-Identifier: Apache-2.0
//
// A raw file or block device as a layer: all of it is data where it stands.
#include <atomic>
#include <cerrno>
#include <limits>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/registry.h"

namespace flatcow {
namespace raw {
namespace {

class RawLayer final : public Layer {
 public:
  RawLayer(File& file, uint64_t size) : file_(file), size_(size) {}

  uint64_t size() const override { return size_.load(); }
  uint64_t cluster_size() const override { return 1; }
  File& data_file() const override { return file_; }
  bool reports_holes() const override { return true; }
  bool IsFlat() const override { return true; }
  absl::Status AdoptFileSize() override {
    ASSIGN_OR_RETURN(const FileStat stat, file_.Stat());
    size_.store(stat.size);
    return absl::OkStatus();
  }

  absl::StatusOr<Mapping> Map(Extent extent) const override {
    return Mapping{.kind = Mapping::Kind::kData,
                   .length = extent.length,
                   .host_offset = extent.offset};
  }

  // Never asked for: Map() says that everything is data.
  absl::StatusOr<Reservation> Reserve(Extent) override {
    return absl::InternalError("a raw layer has nothing to allocate");
  }
  void Release(const Reservation&) override {}
  absl::Status Publish(const Reservation&) override {
    return absl::InternalError("a raw layer has nothing to publish");
  }

  bool HasDirtyMetadata() const override { return false; }
  void BeginRound() override {}
  absl::Status WriteRound(Syncer&) override { return absl::OkStatus(); }
  void AbandonRound() override {}
  void Freeze() override {}
  bool WantsRound() const override { return false; }

  absl::Status CheckSize(uint64_t new_size) const override {
    if (new_size <= uint64_t{std::numeric_limits<int64_t>::max()}) {
      return absl::OkStatus();
    }
    return MakeError(EFBIG,
                     absl::StrCat(file_.path(), ": resize to ", new_size));
  }
  absl::Status PrepareGrow(uint64_t, uint64_t, Syncer&) override {
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> DropEntries(Extent rest) override {
    return rest.length;
  }
  absl::Status FinishResize(uint64_t new_size, Syncer& syncer) override {
    RETURN_IF_ERROR(file_.Truncate(new_size));
    RETURN_IF_ERROR(syncer.Sync(file_));
    size_.store(new_size);
    return absl::OkStatus();
  }

 private:
  File& file_;
  std::atomic<uint64_t> size_;
};

bool Probe(absl::Span<const uint8_t>) { return false; }

absl::StatusOr<FormatHeader> ReadHeader(const File& file) {
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  FormatHeader header;
  header.virtual_size = stat.size;
  return header;
}

absl::StatusOr<std::unique_ptr<Layer>> OpenLayer(File& file, File*,
                                                 const LayerOptions&) {
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  return std::make_unique<RawLayer>(file, stat.size);
}

absl::Status CheckCreate(CreateOptions& options) {
  RETURN_IF_ERROR(CheckNotQcow2(options));
  if (!options.backing_file.empty() || !options.data_file.empty() ||
      !options.data_format.empty() || options.cluster_size != 0 ||
      options.table_size != 0) {
    return MakeError(EINVAL, "a raw image has no backing file and no options");
  }
  return absl::OkStatus();
}

// As qemu-img counts: a raw file may become all data at any time.
DiskShape Shape(const CreateOptions& options) {
  return DiskShape{.fixed_bytes = *options.size, .cluster_size = 0};
}

absl::Status Create(File& file, File*, const CreateOptions& options) {
  RETURN_IF_ERROR(file.Truncate(*options.size));
  return file.Sync();
}

}  // namespace
}  // namespace raw

const FormatDriver kRawFormat = {
    .name = "raw",
    .probe = raw::Probe,
    .read_header = raw::ReadHeader,
    .open = raw::OpenLayer,
    .create = raw::Create,
    .check_create = raw::CheckCreate,
    .shape = raw::Shape,
    .record = nullptr,
    .mark_flat = nullptr,
    .empty = nullptr,
    .check = nullptr,
};

}  // namespace flatcow
