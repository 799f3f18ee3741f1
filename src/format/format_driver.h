// SPDX-License-Identifier: Apache-2.0
//
// A format, as a table of functions. A new format is one folder with such a
// table and one line in registry.cc.
#ifndef FLATCOW_FORMAT_FORMAT_DRIVER_H_
#define FLATCOW_FORMAT_FORMAT_DRIVER_H_

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/layer.h"

namespace flatcow {

// Bytes that a probe looks at.
inline constexpr size_t kProbeBytes = 8;

// What a header says, every field of it checked.
struct FormatHeader {
  uint64_t virtual_size = 0;  // 0 when it is the data file's
  uint32_t cluster_size = 0;
  std::optional<ImageLink> backing;
  std::optional<ImageLink> data_file;
  bool needs_check = false;
  bool all_allocated = false;
  // The backing file is recorded but must not be opened (ALL_ALLOCATED).
  bool ignores_backing = false;
  // Why the image can only be read; empty: it can be written.
  std::string read_only = {};
  std::optional<Qcow2Info> qcow2 = {};
};

struct LayerOptions {
  bool writable = false;
  std::shared_ptr<MetadataCache> cache;
};

// What the files of a new disk need on a host with holes.
struct DiskShape {
  uint64_t fixed_bytes = 0;   // whatever is written
  uint64_t cluster_size = 1;  // data is in whole clusters; 0: all data is fixed
  // A table for each so many bytes of the disk with data in them; 0: none.
  uint64_t table_reach = 0;
  uint64_t table_bytes = 0;
};

struct FormatDriver {
  const char* name;

  // Does a file that begins with `head` (up to kProbeBytes) have the magic?
  bool (*probe)(absl::Span<const uint8_t> head);

  // Reads and checks the header. Errors: EINVAL, ENOTSUP; path in front.
  absl::StatusOr<FormatHeader> (*read_header)(const File& file);

  // Both files outlive the layer; `data_file` is null when the header names
  // none. With `writable` the files are open for writing, and what the format
  // demands before the first write has been done on return. Errors: as
  // read_header; EROFS when the image may only be read.
  absl::StatusOr<std::unique_ptr<Layer>> (*open)(File& file, File* data_file,
                                                 const LayerOptions& options);

  // Writes a new image into `file`, which is empty; `size` is set and the
  // backing format is known. `data_file` as in open().
  absl::Status (*create)(File& file, File* data_file,
                         const CreateOptions& options);

  // Is there anything in the options that the format can't do? Looks at no
  // file. Sets the defaults of what was left out.
  absl::Status (*check_create)(CreateOptions& options);

  // What the files of a disk need; `options` as check_create() leaves them.
  DiskShape (*shape)(const CreateOptions& options);

  // The next three change a file that is open for writing, while no layer of it
  // writes, and are durable on return. Until then it shows what it did.

  // Records other names; `backing` and `data_file` are all that the image is to
  // name. Null: the format has none. Errors: ENAMETOOLONG, EINVAL.
  absl::Status (*record)(File& file, const std::optional<ImageLink>& backing,
                         const std::optional<ImageLink>& data_file);

  // Says that the data file is the disk, byte for byte. Null: the format has no
  // such state. Errors: EINVAL a cluster is not allocated.
  absl::Status (*mark_flat)(File& file, File& data_file);

  // Takes every cluster out of the image, so that it shows its backing file.
  // Null: the format has no backing files.
  absl::Status (*empty)(File& file, File* data_file);

  // Null where a format has nothing to check. `data_file` may be null when it
  // could not be opened. With repair, `file` is open for writing.
  absl::Status (*check)(File& file, File* data_file, Repair repair,
                        CheckResult& result);
};

// Errors: EINVAL when the options ask for what only qcow2 has.
inline absl::Status CheckNotQcow2(const CreateOptions& options) {
  if (!options.data_file_raw && options.refcount_bits == 0) {
    return absl::OkStatus();
  }
  return MakeError(EINVAL, absl::StrCat("format ", options.format,
                                        " has neither data_file_raw nor "
                                        "refcount_bits"));
}

// How many problems are kept as text; the counts go on.
inline constexpr size_t kMaxProblems = 1000;

inline void AddProblem(CheckResult& result, std::string text) {
  if (result.problems.size() < kMaxProblems) {
    result.problems.push_back(std::move(text));
  }
}

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_FORMAT_DRIVER_H_
