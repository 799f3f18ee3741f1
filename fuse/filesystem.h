// SPDX-License-Identifier: Apache-2.0
//
// What the operations of the mount mean, without a word of libfuse.
//
// Every method may be called by any number of threads at once. Errors carry
// the errno for the caller; the ones worth a line in the log are logged here.
#ifndef FLATCOW_FUSE_FILESYSTEM_H_
#define FLATCOW_FUSE_FILESYSTEM_H_

#include <sys/statvfs.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "catalog.h"
#include "control_files.h"
#include "ephemeral_place.h"
#include "flatcow/confined_file_system.h"
#include "flatcow/extent.h"
#include "log.h"
#include "metrics.h"
#include "open_handles.h"
#include "open_views.h"
#include "options.h"
#include "passthrough.h"
#include "readings.h"
#include "view_attributes.h"
#include "view_seek.h"

namespace flatcow::daemon {

struct Attributes {
  NodeId node = 0;
  uint64_t inode = 0;
  mode_t mode = 0;  // type and permission bits
  uint32_t links = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  uint64_t size = 0;    // bytes
  uint64_t blocks = 0;  // of 512 bytes
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  // How long the kernel may believe them, and that the name leads here.
  double timeout_seconds = 0;
  double name_timeout_seconds = 0;
};

// How an open view behaves.
struct OpenedView {
  OpenView* view = nullptr;
  bool direct_io = false;   // past the kernel's page cache
  bool keep_cache = false;  // what the kernel has cached still holds
  BackingId backing = 0;    // what the kernel reads and writes instead, or 0
};

// A folder being listed.
class OpenDirectory;

class Filesystem {
 public:
  // All but `options` outlive this.
  Filesystem(ConfinedFileSystem& files, Catalog& catalog,
             BackingFiles& backing_files, const Options& options, Log& log);
  ~Filesystem();

  // False: the kernel keeps stale pages behind a direct write, so all opens
  // must go through its page cache. Call before the first Open().
  void SetDirectIoCoherent(bool coherent) { direct_io_coherent_ = coherent; }

  // Whether to ask the kernel for passthrough; when it agreed, call
  // EnablePassthrough() before the first Open().
  // An ephemeral view has no file that is it for good.
  bool wants_passthrough() const {
    return options_.passthrough && !options_.ephemeral.has_value();
  }
  void EnablePassthrough();

  // Where writes go with Options::ephemeral. Outlives this; call before the
  // first Open().
  void MakeEphemeral(const EphemeralPlace& place);

  absl::StatusOr<Attributes> Lookup(NodeId parent, const std::string& name);
  void Forget(NodeId node, uint64_t lookups);
  absl::StatusOr<Attributes> GetAttributes(NodeId node);
  absl::StatusOr<struct statvfs> StatFileSystem() const;

  // Whether views have extended attributes. Only where the kernel agreed not to
  // ask for security.capability before each write; call before the first
  // request.
  void EnableViewAttributes() { has_view_attributes_ = true; }
  bool has_view_attributes() const { return has_view_attributes_; }

  // All, or at least the one that is `wanted`; empty for a folder.
  absl::StatusOr<ViewAttributes> GetViewAttributes(
      NodeId node, std::optional<absl::string_view> wanted = std::nullopt);

  // truncate(2). Smaller without Options::shrink: EPERM.
  absl::Status SetSize(NodeId node, uint64_t size);

  // `flags` of open(2). Errors: EPERM with O_TRUNC, EROFS, and OpenImage()'s.
  absl::StatusOr<OpenedView> Open(NodeId node, int flags);
  void Release(OpenView* view);

  absl::StatusOr<size_t> Read(OpenView* view, uint64_t offset,
                              absl::Span<uint8_t> buffer);
  // `durable`: flushed before the return.
  absl::StatusOr<size_t> Write(OpenView* view, uint64_t offset,
                               absl::Span<const uint8_t> data, bool durable);
  absl::Status Flush(OpenView* view);
  // `mode` of fallocate(2).
  absl::Status Fallocate(OpenView* view, int mode, Extent extent);
  absl::StatusOr<uint64_t> Seek(OpenView* view, uint64_t offset,
                                SeekTarget target);

  absl::StatusOr<OpenDirectory*> OpenFolder(NodeId node);
  // The entries from the `position`th on, `.` and `..` first; beginning with 0
  // looks again. Valid until the next call with this folder.
  absl::StatusOr<absl::Span<const DirectoryEntry>> ReadFolder(
      OpenDirectory* folder, uint64_t position);
  void ReleaseFolder(OpenDirectory* folder);

  OpenViews& views() { return views_; }
  OpenHandles<ControlText>& control_texts() { return control_texts_; }
  Metrics& metrics() { return metrics_; }
  Readings TakeReadings();

 private:
  // No image is written to.
  bool ephemeral() const { return options_.ephemeral.has_value(); }

  Attributes Describe(const NodeInfo& node, OpenView* view) const;
  std::optional<uint64_t> CountAllocatedClusters(const NodeInfo& node);
  absl::Status CheckWritable(const NodeInfo& node);
  absl::Status Refuse(absl::string_view view_name, const absl::Status& status);
  absl::Status Fail(const OpenView& view, absl::string_view operation,
                    const absl::Status& status);

  ConfinedFileSystem& files_;
  Catalog& catalog_;
  BackingFiles& backing_files_;
  Log& log_;
  const Options options_;
  const EphemeralPlace* ephemeral_place_ = nullptr;
  bool direct_io_coherent_ = true;
  bool has_view_attributes_ = false;
  const std::shared_ptr<MetadataCache> cache_;
  const int64_t start_time_;
  Metrics metrics_;
  OpenViews views_;
  OpenHandles<OpenDirectory> open_folders_;
  OpenHandles<ControlText> control_texts_;
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_FILESYSTEM_H_
