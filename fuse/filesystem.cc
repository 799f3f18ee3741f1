// SPDX-License-Identifier: Apache-2.0
#include "filesystem.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "control_files.h"
#include "flatcow/image.h"
#include "flatcow/status.h"

namespace flatcow::daemon {
namespace {

// Attributes of a view that is open and locked change through us only, and the
// kernel drops its own copy after each write, so a second is safe; so are
// folders, of which only modes and times could be late. Of what is watched we
// hear in time, but for files that are being written to, and for the files
// below an image. Anything else may change on the host at any moment; so does a
// view that the kernel serves, when it is written through mmap(2).
constexpr double kStableSeconds = 1.0;

// What libfuse shows for an inode number that nobody needs.
constexpr uint64_t kUnknownInode = 0xffffffff;

OpenOptions ImageOptions(const Options& options,
                         std::shared_ptr<MetadataCache> cache) {
  OpenOptions open;
  open.lock = options.lock;
  open.metadata_cache = std::move(cache);
  open.backing_pool = NewBackingPool();
  return open;
}

// For an attribute: counting them takes some milliseconds.
constexpr uint64_t kMaxRunsCounted = 65536;

// The clock that host file systems stamp with, so that a time taken before a
// change is never after the change's own stamp.
int64_t StampNs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

// At most the size; and never 0, for archivers take that as "all zero".
uint64_t BlocksOf(uint64_t allocated_bytes, uint64_t size) {
  constexpr uint64_t kLeast = 4096;
  const uint64_t bytes = std::min(std::max(allocated_bytes, kLeast), size);
  return bytes / 512 + (bytes % 512 != 0);
}

}  // namespace

class OpenDirectory {
 public:
  OpenDirectory(NodeId node, uint64_t inode) : node_(node), inode_(inode) {}

 private:
  friend class Filesystem;

  const NodeId node_;
  const uint64_t inode_;
  // The kernel reads a folder's handle from one thread at a time.
  std::vector<DirectoryEntry> entries_;
};

Filesystem::Filesystem(ConfinedFileSystem& files, Catalog& catalog,
                       BackingFiles& backing_files, const Options& options,
                       Log& log)
    : files_(files),
      catalog_(catalog),
      backing_files_(backing_files),
      log_(log),
      options_(options),
      cache_(NewMetadataCache(options.metadata_cache_bytes)),
      start_time_(std::time(nullptr)),
      views_(files, catalog, ImageOptions(options, cache_), log) {}

Filesystem::~Filesystem() = default;

void Filesystem::EnablePassthrough() {
  // Without locks, others may write to an image even here.
  const bool never_written = options_.read_only && options_.lock;
  views_.EnablePassthrough(backing_files_, never_written);
}

void Filesystem::MakeEphemeral(const EphemeralPlace& place) {
  ephemeral_place_ = &place;
  views_.MakeEphemeral(place);
}

// ---- Names and attributes

Attributes Filesystem::Describe(const NodeInfo& node, OpenView* view) const {
  Attributes attributes;
  attributes.node = node.id;
  attributes.inode = node.inode;
  attributes.links = node.links;
  attributes.uid = options_.uid.value_or(node.stat.uid);
  attributes.gid = options_.gid.value_or(node.stat.gid);
  if (node.watched) attributes.name_timeout_seconds = kStableSeconds;
  attributes.mtime_ns = node.mtime_ns;
  attributes.ctime_ns = std::max(node.stat.ctime_ns, node.mtime_ns);
  mode_t mask = 0777 & ~options_.umask;
  if (options_.read_only) mask &= ~mode_t{0222};
  if (node.is_directory) {
    attributes.mode = S_IFDIR | (node.stat.mode & mask);
    attributes.timeout_seconds = kStableSeconds;
    return attributes;
  }
  mode_t mode = node.stat.mode;
  if (ephemeral()) {
    // Nothing of the image's changes, so who may read it may also write.
    mode |= (mode & 0444) >> 1;
    mask &= 0666;
  } else {
    mask &= node.facts->read_only.empty() ? mode_t{0666} : mode_t{0444};
  }
  uint64_t allocated_bytes = node.allocated_bytes;
  if (view == nullptr) {
    // A damaged image is there to be seen, not to be opened. When just another
    // file is missing or out of bounds, opening tells which.
    if (node.error == EINVAL || node.error == ENOTSUP) mask = 0;
    attributes.size = node.virtual_size;
    attributes.timeout_seconds = attributes.name_timeout_seconds;
  } else {
    // Where that can't be known, what was known before.
    view->AdoptGrowth().IgnoreError();
    attributes.size = view->image().Size();
    attributes.mtime_ns = std::max(node.mtime_ns, view->last_change_ns());
    attributes.ctime_ns = std::max(attributes.ctime_ns, attributes.mtime_ns);
    if (ephemeral()) {
      allocated_bytes =
          view->image().AllocatedBytes().value_or(allocated_bytes);
    }
    if (options_.lock && !view->was_passthrough()) {
      attributes.timeout_seconds = kStableSeconds;
    }
  }
  attributes.mode = S_IFREG | (mode & mask);
  attributes.blocks = BlocksOf(allocated_bytes, attributes.size);
  return attributes;
}

absl::StatusOr<Attributes> Filesystem::Lookup(NodeId parent,
                                              const std::string& name) {
  const auto node = catalog_.Lookup(parent, name);
  if (!node.ok()) return node.status();
  if (node->is_directory) return Describe(*node, nullptr);
  const OpenViews::User user = views_.Find(node->id);
  return Describe(*node, user.get());
}

void Filesystem::Forget(NodeId node, uint64_t lookups) {
  views_.Forget(node);
  catalog_.Forget(node, lookups);
}

absl::StatusOr<Attributes> Filesystem::GetAttributes(NodeId node) {
  const OpenViews::User user = views_.Find(node);
  const auto info = catalog_.Get(node);
  if (!info.ok()) return info.status();
  return Describe(*info, user.get());
}

std::optional<uint64_t> Filesystem::CountAllocatedClusters(
    const NodeInfo& node) {
  if (node.error != 0) return std::nullopt;
  const auto opened = views_.Acquire(node, Access::kReadOnly, Use::kInternal);
  if (!opened.ok()) return std::nullopt;
  const auto count =
      opened->user->image().CountAllocatedClusters(kMaxRunsCounted);
  return count.ok() ? *count : std::nullopt;
}

absl::StatusOr<ViewAttributes> Filesystem::GetViewAttributes(
    NodeId node, std::optional<absl::string_view> wanted) {
  const auto info = catalog_.Get(node);
  if (!info.ok()) return info.status();
  if (info->is_directory) return ViewAttributes();
  ViewFacts view;
  view.image = catalog_.AbsolutePath(info->path);
  view.facts = info->facts;
  view.backing = catalog_.BackingPaths(*info->facts);
  view.ephemeral = ephemeral();
  if (!ephemeral() && (!wanted.has_value() || *wanted == kAllocatedClusters)) {
    view.allocated_clusters = CountAllocatedClusters(*info);
  }
  view.virtual_size = info->virtual_size;
  if (const OpenViews::User user = views_.Find(node)) {
    view.virtual_size = user->image().Size();
    view.dirty_metadata = !ephemeral() && user->image().NeedsFlush();
    view.passthrough = views_.IsPassthrough(*user.get());
  }
  return AttributesOf(view);
}

absl::StatusOr<struct statvfs> Filesystem::StatFileSystem() const {
  // Where writes take space.
  const bool elsewhere =
      ephemeral_place_ != nullptr && ephemeral_place_->descriptor() >= 0;
  struct statvfs info;
  if (fstatvfs(elsewhere ? ephemeral_place_->descriptor()
                         : files_.root_descriptor(0),
               &info) != 0) {
    return ErrnoError(errno,
                      elsewhere ? *options_.ephemeral : files_.root_path(0));
  }
  return info;
}

// Before the image is opened, for whoever reads it has it locked against
// writers, and the answer must not depend on that.
absl::Status Filesystem::CheckWritable(const NodeInfo& node) {
  if (options_.read_only) return ErrnoError(EROFS, node.view_name);
  if (ephemeral()) return absl::OkStatus();
  const std::string& why = node.facts->read_only;
  if (why.empty()) return absl::OkStatus();
  return Refuse(node.view_name,
                MakeError(EROFS, absl::StrCat("can only be read: ", why)));
}

absl::Status Filesystem::SetSize(NodeId node, uint64_t size) {
  const OpenViews::User user = views_.Find(node);
  const auto info = catalog_.Get(node);
  if (!info.ok()) return info.status();
  if (info->is_directory) return ErrnoError(EISDIR, info->view_name);
  if (user) {
    const absl::Status adopted = user->AdoptGrowth();
    if (!adopted.ok()) return Refuse(info->view_name, adopted);
  }
  const uint64_t old_size = user ? user->image().Size() : info->virtual_size;
  if (size < old_size && !options_.shrink) {
    return Refuse(
        info->view_name,
        MakeError(EPERM,
                  absl::StrCat("not cut from ", old_size, " to ", size,
                               " bytes: a view only grows, unless mounted "
                               "with -o shrink")));
  }
  if (size == old_size && (user || info->error == 0)) return absl::OkStatus();
  const absl::Status writable = CheckWritable(*info);
  if (!writable.ok()) return writable;
  const auto opened = views_.Acquire(*info, Access::kReadWrite, Use::kInternal);
  if (!opened.ok()) return Refuse(info->view_name, opened.status());
  OpenView& view = *opened->user.get();
  const int64_t now = StampNs();
  Image& image = view.image();
  const absl::Status resized =
      size < image.Size() ? image.Shrink(size) : image.Resize(size);
  if (!resized.ok()) return Refuse(info->view_name, resized);
  view.NoteChange(now);
  return absl::OkStatus();
}

// ---- Open views

absl::StatusOr<OpenedView> Filesystem::Open(NodeId node, int flags) {
  const auto info = catalog_.Get(node);
  if (!info.ok()) return info.status();
  if (info->is_directory) return ErrnoError(EISDIR, info->view_name);
  if ((flags & O_TRUNC) != 0) {
    return Refuse(info->view_name,
                  MakeError(EPERM,
                            "opening with O_TRUNC would empty the disk, so it "
                            "is refused: write with `dd conv=notrunc`, or make "
                            "a new image with `flatcow-img convert`"));
  }
  const bool write = (flags & O_ACCMODE) != O_RDONLY;
  if (write) {
    const absl::Status writable = CheckWritable(*info);
    if (!writable.ok()) return writable;
  }
  auto opened = views_.Acquire(
      *info, write ? Access::kReadWrite : Access::kReadOnly, Use::kOpen);
  if (!opened.ok()) return Refuse(info->view_name, opened.status());
  if (opened->is_first) {
    for (const std::string& warning : opened->user->image().Warnings()) {
      log_.Write(Severity::kWarning,
                 absl::StrCat(info->view_name, ": ", warning));
    }
  }
  OpenedView result;
  result.backing = opened->backing;
  if (result.backing != 0) {
    metrics_.CountPassthroughOpen();
  } else {
    // Who only writes has no use for pages, which cost a copy of all he writes.
    const bool skips_cache =
        (flags & O_DIRECT) != 0 || (flags & O_ACCMODE) == O_WRONLY;
    result.direct_io = options_.cache == CachePolicy::kNone ||
                       (skips_cache && direct_io_coherent_);
    // Also for a direct open: otherwise it would empty the cache of others.
    result.keep_cache = opened->unchanged;
  }
  result.view = opened->user.Keep();
  return result;
}

void Filesystem::Release(OpenView* view) { views_.Release(view, Use::kOpen); }

absl::StatusOr<size_t> Filesystem::Read(OpenView* view, uint64_t offset,
                                        absl::Span<uint8_t> buffer) {
  auto size = view->image().Read(offset, buffer);
  if (!size.ok()) return Fail(*view, "read", size.status());
  metrics_.CountBytesRead(*size);
  return size;
}

absl::StatusOr<size_t> Filesystem::Write(OpenView* view, uint64_t offset,
                                         absl::Span<const uint8_t> data,
                                         bool durable) {
  const int64_t now = StampNs();
  auto size = view->image().Write(offset, data);
  if (!size.ok()) {
    // The guest's own doing, as on a block device: nothing for the log.
    if (offset >= view->image().Size()) return size.status();
    return Fail(*view, "write", size.status());
  }
  view->NoteChange(now);
  metrics_.CountBytesWritten(*size);
  if (durable) {
    const absl::Status flushed = Flush(view);
    if (!flushed.ok()) return flushed;
  }
  return size;
}

absl::Status Filesystem::Flush(OpenView* view) {
  const absl::Status status = view->Flush();
  return status.ok() ? status : Fail(*view, "flush", status);
}

absl::Status Filesystem::Fallocate(OpenView* view, int mode, Extent extent) {
  Image& image = view->image();
  const absl::Status adopted = view->AdoptGrowth();
  if (!adopted.ok()) return Fail(*view, "fallocate", adopted);
  const uint64_t size = image.Size();
  if (extent.offset > size || extent.length > size - extent.offset) {
    return ErrnoError(EFBIG, view->name());
  }
  const int64_t now = StampNs();
  absl::Status status;
  switch (mode) {
    case 0:
    case FALLOC_FL_KEEP_SIZE:
      status = image.Allocate(extent);
      break;
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_ZERO_RANGE:
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
      // The kernel drops its pages of the range itself when this returns.
      status = image.WriteZeroes(extent);
      break;
    default:
      return ErrnoError(EOPNOTSUPP, view->name());
  }
  if (!status.ok()) return Fail(*view, "fallocate", status);
  view->NoteChange(now);
  return status;
}

absl::StatusOr<uint64_t> Filesystem::Seek(OpenView* view, uint64_t offset,
                                          SeekTarget target) {
  const absl::Status adopted = view->AdoptGrowth();
  if (!adopted.ok()) return Fail(*view, "seek", adopted);
  auto found = SeekView(view->image(), offset, target);
  if (!found.ok() && ErrnoOf(found.status()) != ENXIO) {
    return Fail(*view, "seek", found.status());
  }
  return found;
}

// ---- Folders

absl::StatusOr<OpenDirectory*> Filesystem::OpenFolder(NodeId node) {
  const auto info = catalog_.Get(node);
  if (!info.ok()) return info.status();
  return open_folders_.Keep(std::make_unique<OpenDirectory>(node, info->inode));
}

absl::StatusOr<absl::Span<const DirectoryEntry>> Filesystem::ReadFolder(
    OpenDirectory* folder, uint64_t position) {
  if (position == 0) {
    auto entries = catalog_.List(folder->node_);
    if (!entries.ok()) return Refuse("", entries.status());
    folder->entries_ = {{".", folder->inode_, true},
                        {"..", kUnknownInode, true}};
    std::copy_if(
        entries->begin(), entries->end(), std::back_inserter(folder->entries_),
        [&](const DirectoryEntry& entry) {
          // SOURCE's own folder of that name can't be entered.
          return folder->node_ != kRootNode || entry.name != kControlFolderName;
        });
  }
  const absl::Span<const DirectoryEntry> all(folder->entries_);
  return all.subspan(std::min<uint64_t>(position, all.size()));
}

void Filesystem::ReleaseFolder(OpenDirectory* folder) {
  open_folders_.Drop(folder);
}

// ---- What the log says

absl::Status Filesystem::Refuse(absl::string_view view_name,
                                const absl::Status& status) {
  const absl::Status annotated =
      view_name.empty() ? status : Annotate(status, view_name);
  // The kernel repeats the request; if that fails too, it is logged then.
  if (ErrnoOf(status) == ESTALE) return annotated;
  metrics_.CountError(view_name);
  log_.WriteLimited(Severity::kError, annotated.message(), annotated.message());
  return annotated;
}

// Once per image, operation and errno, for a bad disk fails at every offset.
absl::Status Filesystem::Fail(const OpenView& view, absl::string_view operation,
                              const absl::Status& status) {
  metrics_.CountError(view.name());
  log_.WriteLimited(
      Severity::kError,
      absl::StrCat(view.name(), " ", operation, " ", ErrnoOf(status)),
      absl::StrCat(view.name(), ": ", operation, ": ", status.message()));
  return status;
}

// ---- What it does

Readings Filesystem::TakeReadings() {
  Readings readings;
  for (size_t i = 0; i < kOperations; ++i) {
    readings.requests[i] = metrics_.Of(static_cast<Operation>(i));
  }
  readings.bytes_read = metrics_.bytes_read();
  readings.bytes_written = metrics_.bytes_written();
  readings.passthrough_opens = metrics_.passthrough_opens();
  readings.errors = metrics_.Errors();
  readings.cache = StatisticsOf(*cache_);
  readings.images = views_.Statistics();
  readings.views = views_.States();
  readings.start_time = start_time_;
  readings.read_only = options_.read_only;
  readings.passthrough = views_.may_pass_through();
  readings.source = files_.root_path(0);
  return readings;
}

}  // namespace flatcow::daemon
