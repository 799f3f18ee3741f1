// SPDX-License-Identifier: Apache-2.0
#include "image/overlay.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "image/read_segments.h"

namespace flatcow {

Overlay::Overlay(Chain chain, ImageInfo info, bool writable,
                 LayerOptions options, std::vector<std::string> warnings)
    : chain_(std::move(chain)),
      info_(std::move(info)),
      layer_options_(std::move(options)),
      warnings_(std::move(warnings)),
      size_(chain_.top().size()),
      writable_(writable) {}

Overlay::~Overlay() {
  // Whoever wants to know of errors has called Flush() before.
  if (NeedsFlush() && OutlivesProcess()) RunRounds().IgnoreError();
}

absl::Status Overlay::CheckWritable() const {
  if (!writable_.load()) {
    return ErrnoError(EROFS, absl::StrCat(info_.path, ": opened read-only"));
  }
  return SyncFailed() ? FailureStatus() : absl::OkStatus();
}

absl::Status Overlay::CheckInside(Extent extent,
                                  absl::string_view operation) const {
  const uint64_t size = Size();
  if (extent.offset <= size && extent.length <= size - extent.offset) {
    return absl::OkStatus();
  }
  return MakeError(
      EFBIG, absl::StrCat(info_.path, ": ", operation, " of ", extent.length,
                          " bytes at ", extent.offset,
                          " goes past the end of the disk at ", size));
}

absl::Status Overlay::ReadInside(Extent extent, uint8_t* buffer) const {
  SegmentList segments;
  RETURN_IF_ERROR(chain_.Resolve(extent, Detail::kForIo, segments));
  return ReadSegments(segments, buffer);
}

absl::StatusOr<size_t> Overlay::Read(uint64_t guest_offset,
                                     absl::Span<uint8_t> buffer) {
  IoGate::Shared inside(gate_);
  const uint64_t size = Size();
  if (guest_offset >= size) return 0;
  const uint64_t length =
      std::min<uint64_t>(buffer.size(), size - guest_offset);
  RETURN_IF_ERROR(ReadInside({guest_offset, length}, buffer.data()));
  return static_cast<size_t>(length);
}

absl::StatusOr<bool> Overlay::ReadsZero(Extent extent) const {
  SegmentList segments;
  RETURN_IF_ERROR(chain_.Resolve(extent, Detail::kForIo, segments));
  return std::all_of(segments.begin(), segments.end(), [](const Segment& s) {
    return s.kind == Segment::Kind::kZero;
  });
}

absl::StatusOr<SegmentList> Overlay::Map(Extent extent) {
  IoGate::Shared inside(gate_);
  RETURN_IF_ERROR(CheckInside(extent, "map"));
  SegmentList segments;
  RETURN_IF_ERROR(chain_.Resolve(extent, Detail::kExact, segments));
  return segments;
}

std::vector<std::string> Overlay::ChainPaths() const {
  std::vector<std::string> paths;
  for (const ChainLayer* layer : chain_.Layers()) {
    paths.push_back(layer->image.file->path());
    if (layer->data_image != nullptr) {
      for (std::string& path : layer->data_image->image().ChainPaths()) {
        paths.push_back(std::move(path));
      }
    } else if (layer->data.has_value()) {
      paths.push_back(layer->data->file->path());
    }
  }
  return paths;
}

std::vector<std::string> Overlay::WrittenPaths() const {
  const ChainLayer& top = chain_.image();
  std::vector<std::string> paths = {top.image.file->path()};
  if (inner() != nullptr) {
    for (std::string& path : inner()->WrittenPaths()) {
      paths.push_back(std::move(path));
    }
  } else if (top.data.has_value()) {
    paths.push_back(top.data->file->path());
  }
  return paths;
}

ImageStatistics Overlay::Statistics() const {
  return {
      .allocated_clusters = allocated_clusters_.load(std::memory_order_relaxed),
      .copied_bytes = copied_bytes_.load(std::memory_order_relaxed),
      .flush_rounds = round_count_.load(std::memory_order_relaxed)};
}

absl::StatusOr<std::optional<uint64_t>> Overlay::CountAllocatedClusters(
    uint64_t max_runs) {
  IoGate::Shared inside(gate_);
  const Layer& layer = chain_.top();
  const uint64_t size = Size();
  const uint64_t cluster_size = layer.cluster_size();
  uint64_t clusters = 0;
  uint64_t next = 0;  // clusters before this one are counted
  for (uint64_t at = 0, runs = 0; at < size; ++runs) {
    if (runs == max_runs) return std::nullopt;
    ASSIGN_OR_RETURN(const Mapping mapping, layer.Map({at, size - at}));
    const uint64_t end = at + mapping.length;
    if (mapping.kind == Mapping::Kind::kData) {
      const uint64_t first = std::max(next, at / cluster_size);
      next = DivideRoundingUp(end, cluster_size);
      clusters += next - first;
    }
    at = end;
  }
  return clusters;
}

absl::StatusOr<uint64_t> Overlay::AllocatedBytes() {
  uint64_t sum = 0;
  bool has_data = false;
  for (const ChainLayer* layer : chain_.Layers()) {
    if (layer->data_image != nullptr) {
      ASSIGN_OR_RETURN(const uint64_t inner,
                       layer->data_image->image().AllocatedBytes());
      sum += inner;
      continue;
    }
    const File& file =
        *(layer->data.has_value() ? *layer->data : layer->image).file;
    ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
    sum += stat.allocated_bytes;
    ASSIGN_OR_RETURN(const uint64_t data, file.SeekData(0));
    has_data = has_data || data < stat.size;
  }
  // Small files can have data and no blocks.
  constexpr uint64_t kSector = 512;
  return std::min(Size(), sum == 0 && has_data ? kSector : sum);
}

absl::Status Overlay::MakeWritable() {
  if (writable_.load()) return absl::OkStatus();
  IoGate::Exclusive alone(gate_);
  if (writable_.load()) return absl::OkStatus();
  ChainLayer& top = chain_.image();
  ChainFile* const raw_data =
      top.data.has_value() && inner() == nullptr ? &*top.data : nullptr;
  const auto upgrade = [&](ChainFile& file) -> absl::Status {
    if (file.lock != nullptr) {
      RETURN_IF_ERROR(file.lock->Take(LockRole::kImageReadWrite));
    }
    ASSIGN_OR_RETURN(file.writable, file.file->Reopen(Access::kReadWrite));
    return absl::OkStatus();
  };
  const LockRole old_role =
      top.image.lock != nullptr ? top.image.lock->role() : LockRole::kNone;
  const auto restore = [&](ChainFile& file) {
    file.writable.reset();
    // Bytes that are held already conflict with nobody.
    if (file.lock != nullptr) file.lock->Take(old_role).IgnoreError();
  };
  const auto open = [&]() -> absl::Status {
    RETURN_IF_ERROR(upgrade(top.image));
    if (raw_data != nullptr) RETURN_IF_ERROR(upgrade(*raw_data));
    LayerOptions options = layer_options_;
    options.writable = true;
    ASSIGN_OR_RETURN(
        auto layer,
        top.driver->open(top.image.io(),
                         top.data.has_value() ? &top.data->io() : nullptr,
                         options));
    // Nothing that can fail comes after it, so it need not be taken back.
    if (inner() != nullptr) RETURN_IF_ERROR(inner()->MakeWritable());
    top.layer = std::move(layer);
    size_.store(top.layer->size());
    return absl::OkStatus();
  };
  if (const absl::Status status = open(); !status.ok()) {
    restore(top.image);
    if (raw_data != nullptr) restore(*raw_data);
    return status;
  }
  writable_.store(true);
  return absl::OkStatus();
}

// ---- Flat files ----

const File* Overlay::FindFlatFile() const {
  // Bits or table entries that are looked at to know.
  constexpr uint64_t kMostClusters = uint64_t{1} << 20;
  constexpr uint64_t kMostClustersAtOnce = 1 << 12;
  const Layer& top = chain_.top();
  const uint64_t size = Size();
  if (top.IsFlat()) return &top.data_file();
  if (size == 0 || size / top.cluster_size() > kMostClusters) return nullptr;
  // In parts, so that an answer of many segments costs no memory.
  const uint64_t part = kMostClustersAtOnce * top.cluster_size();
  const File* file = nullptr;
  for (uint64_t at = 0; at < size; at += part) {
    SegmentList segments;
    if (!chain_
             .Resolve({at, std::min(part, size - at)}, Detail::kForIo, segments)
             .ok()) {
      return nullptr;
    }
    const Segment& first = segments.front();
    if (segments.size() != 1 || first.kind != Segment::Kind::kData ||
        first.host_offset != at || (file != nullptr && file != first.file)) {
      return nullptr;
    }
    file = first.file;
  }
  return file;
}

int Overlay::FlatFile(bool never_written) {
  IoGate::Shared inside(gate_);
  if (!never_written && !chain_.top().IsFlat()) return -1;
  const File* const file = FindFlatFile();
  if (file == nullptr) return -1;
  const auto stat = file->Stat();
  if (!stat.ok() || stat->size != Size() || file->Descriptor() < 0) return -1;
  handed_out_.store(true);
  return file->Descriptor();
}

absl::Status Overlay::AdoptGrowth() {
  if (inner() != nullptr) return absl::OkStatus();
  const auto is_longer = [this]() -> absl::StatusOr<bool> {
    ASSIGN_OR_RETURN(const FileStat stat, chain_.top().data_file().Stat());
    return chain_.top().IsFlat() && stat.size > Size();
  };
  {
    IoGate::Shared inside(gate_);
    ASSIGN_OR_RETURN(const bool longer, is_longer());
    if (!longer) return absl::OkStatus();
  }
  IoGate::Exclusive alone(gate_);
  ASSIGN_OR_RETURN(const bool longer, is_longer());
  if (!longer) return absl::OkStatus();
  RETURN_IF_ERROR(chain_.top().AdoptFileSize());
  size_.store(chain_.top().size());
  return absl::OkStatus();
}

// ---- Flushing ----

bool Overlay::NeedsFlush() const {
  return writable_.load() &&
         (syncer_.failed() || chain_.top().HasDirtyMetadata() ||
          (inner() != nullptr && inner()->NeedsFlush()));
}

absl::Status Overlay::FailureStatus() const {
  return MakeError(
      EIO,
      absl::StrCat(info_.path, ": not writable since a sync failed (",
                   SyncFailure(), "); ",
                   OutlivesProcess() ? "close the image and open it again"
                                     : "what was written is lost in part"));
}

std::string Overlay::SyncFailure() const {
  return syncer_.failed() || inner() == nullptr ? syncer_.failure()
                                                : inner()->SyncFailure();
}

absl::Status Overlay::WriteRound() {
  Layer& layer = chain_.top();
  if (data_written_.exchange(false) || handed_out_.load() ||
      (inner() != nullptr && inner()->NeedsFlush())) {
    const absl::Status synced = syncer_.Sync(layer.data_file());
    if (!synced.ok()) {
      NoteDataWritten();
      return synced;
    }
  }
  return layer.WriteRound(syncer_);
}

absl::Status Overlay::OneRound() {
  if (syncer_.failed()) return FailureStatus();
  round_count_.fetch_add(1, std::memory_order_relaxed);
  chain_.top().BeginRound();
  absl::Status status = WriteRound();
  if (status.ok()) return status;
  if (!syncer_.failed()) {
    chain_.top().AbandonRound();
    return status;
  }
  // New mappings may name data that was lost with the sync.
  chain_.top().Freeze();
  return FailureStatus();
}

absl::Status Overlay::RunRounds() {
  if (syncer_.failed()) return FailureStatus();
  return rounds_.Join([this] { return OneRound(); });
}

bool Overlay::OutlivesProcess() const {
  return chain_.image().image.file->OutlivesProcess();
}

// Metadata stay in memory while there is room. After a failure reads show what
// the data file holds, as they do where rounds have failed; the mappings are
// kept, for nobody else knows them.
absl::Status Overlay::CheckData() {
  if (syncer_.failed()) return FailureStatus();
  const absl::Status checked = syncer_.Sync(chain_.top().data_file());
  return syncer_.failed() ? FailureStatus() : checked;
}

absl::Status Overlay::Flush() {
  IoGate::Shared inside(gate_);
  if (!writable_.load()) return absl::OkStatus();
  return OutlivesProcess() ? RunRounds() : CheckData();
}

absl::Status Overlay::FlushIfCacheIsFull() {
  return WantsRound() && begins_rounds_.load() ? RunRounds() : absl::OkStatus();
}

bool Overlay::WantsRound() const {
  return chain_.top().WantsRound() ||
         (inner() != nullptr && inner()->WantsRound());
}

// ---- Resizing ----

absl::Status Overlay::CheckSize(uint64_t new_size) const {
  RETURN_IF_ERROR(chain_.top().CheckSize(new_size));
  return inner() != nullptr ? inner()->CheckSize(new_size) : absl::OkStatus();
}

absl::Status Overlay::Resize(uint64_t new_size) {
  IoGate::Exclusive alone(gate_);
  RETURN_IF_ERROR(CheckWritable());
  const uint64_t old_size = Size();
  if (new_size == old_size) return absl::OkStatus();
  if (new_size < old_size) {
    return MakeError(EPERM, absl::StrCat(info_.path, ": resize from ", old_size,
                                         " to ", new_size,
                                         ": making a disk smaller would drop "
                                         "data and is not done"));
  }
  RETURN_IF_ERROR(CheckSize(new_size));
  return Grow(new_size);
}

absl::Status Overlay::Shrink(uint64_t new_size) {
  IoGate::Exclusive alone(gate_);
  RETURN_IF_ERROR(CheckWritable());
  if (new_size > Size()) {
    return MakeError(
        EINVAL, absl::StrCat(info_.path, ": shrinking from ", Size(), " to ",
                             new_size, ": that is larger"));
  }
  if (new_size == Size()) return absl::OkStatus();
  Layer& layer = chain_.top();
  RETURN_IF_ERROR(CheckSize(new_size));
  for (uint64_t at = RoundUp(new_size, layer.cluster_size()); at < Size();) {
    ASSIGN_OR_RETURN(const uint64_t done, layer.DropEntries({at, Size() - at}));
    at += done;
    if (WantsRound()) RETURN_IF_ERROR(RunRounds());
  }
  RETURN_IF_ERROR(RunRounds());
  RETURN_IF_ERROR(layer.FinishResize(new_size, syncer_));
  size_.store(new_size);
  return absl::OkStatus();
}

// Everything that makes the new area read as zeroes is durable before the size.
absl::Status Overlay::Grow(uint64_t new_size) {
  Layer& layer = chain_.top();
  RETURN_IF_ERROR(ZeroPastOldEnd());
  if (layer.HasDirtyMetadata()) RETURN_IF_ERROR(RunRounds());
  RETURN_IF_ERROR(layer.PrepareGrow(new_size, chain_.backing_size(), syncer_));
  RETURN_IF_ERROR(RunRounds());
  RETURN_IF_ERROR(layer.FinishResize(new_size, syncer_));
  size_.store(new_size);
  return absl::OkStatus();
}

// The last cluster, where the disk ends inside it.
absl::Status Overlay::ZeroPastOldEnd() {
  Layer& layer = chain_.top();
  const uint64_t size = layer.size();
  const uint64_t in_cluster = size & (layer.cluster_size() - 1);
  if (in_cluster == 0) return absl::OkStatus();
  const uint64_t cluster = size - in_cluster;
  ASSIGN_OR_RETURN(const Mapping mapping, layer.Map({cluster, in_cluster}));
  switch (mapping.kind) {
    case Mapping::Kind::kZero:
      return absl::OkStatus();
    case Mapping::Kind::kData:
      // Where clusters are not whole, growing the file brings the zeroes.
      if (!layer.needs_whole_clusters()) return absl::OkStatus();
      RETURN_IF_ERROR(
          layer.data_file().Zero({mapping.host_offset + in_cluster,
                                  layer.cluster_size() - in_cluster}));
      NoteDataWritten();
      return absl::OkStatus();
    case Mapping::Kind::kBacking:
      if (chain_.backing_size() <= size) return absl::OkStatus();
      return AllocateClusters({cluster, in_cluster}, nullptr).status();
  }
  return absl::OkStatus();
}

}  // namespace flatcow
