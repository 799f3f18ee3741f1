// SPDX-License-Identifier: Apache-2.0
//
// The verbs over images that flatcow-img offers. All take the locks of
// QEMU's protocol before they open anything for writing.
//
// A verb that rewrites an image may be interrupted at any point: the image
// shows the same bytes, and the same call finishes the work.
#ifndef FLATCOW_IMAGE_OPS_H_
#define FLATCOW_IMAGE_OPS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/file.h"
#include "flatcow/image.h"

namespace flatcow {

struct CreateOptions {
  std::string format = "raw";         // raw, add-cow, qed, qcow2
  std::optional<uint64_t> size = {};  // bytes; without: the backing file's
  std::string backing_file = {};      // as to be recorded; empty: none
  std::string backing_format = {};    // empty: found by magic
  // The backing file is recorded without being opened (needs `size`).
  bool unsafe_backing = false;
  bool force = false;         // an existing file may be overwritten
  uint32_t cluster_size = 0;  // bytes; 0: 65536
  uint32_t table_size = 0;    // QED: clusters in a table; 0: 4
  // The file that written clusters are in, as to be recorded. add-cow (which
  // calls it the image file) and qcow2: must be given.
  std::string data_file = {};
  std::string data_format = {};  // add-cow; empty: raw
  // qcow2: the data file by itself is always the disk. What an existing one
  // holds is then what the disk shows. No backing file.
  bool data_file_raw = false;
  uint32_t refcount_bits = 0;  // qcow2: 1 to 64, a power of two; 0: 16
};

struct CreateResult {
  uint64_t size = 0;           // bytes
  uint32_t cluster_size = 0;   // bytes; 0 for raw
  std::string backing_format;  // as recorded or found
  std::vector<std::string> warnings;
};

// Makes an image. A failure leaves no file behind. Relative names of backing
// and image file are relative to the directory of `path`.
// Errors: EEXIST without `force`; EINVAL a size or option the format can't
// hold; ENOENT the backing file; ENOTSUP a format that can't be created.
absl::StatusOr<CreateResult> CreateImage(FileSystem& file_system,
                                         const std::string& path,
                                         const CreateOptions& options);

enum class Repair {
  kNone,
  kLeaks,  // space nothing refers to is given back
  kAll,    // bad entries are dropped too: their guest ranges change
};

struct CheckOptions {
  std::string format;  // empty: found by magic
  Repair repair = Repair::kNone;
  bool lock = true;
  bool share_writes = false;  // -U; only without repair
};

// Counts in clusters, except where said. With repair, `corruptions` and
// `leaks` are what is left.
struct CheckResult {
  std::string format = {};
  uint64_t total_clusters = 0;
  uint64_t allocated_clusters = 0;
  uint64_t fragmented_clusters = 0;
  uint64_t corruptions = 0;  // bad entries
  uint64_t leaks = 0;
  uint64_t check_errors = 0;  // what could not be read
  uint64_t corruptions_fixed = 0;
  uint64_t leaks_fixed = 0;
  // qcow2: bytes up to the end of the last cluster in use; 0: not known.
  uint64_t image_end_offset = 0;
  std::vector<std::string> problems;  // a line each, at most 1,000
  std::vector<std::string> changed;   // what repair changed, a line each
  std::vector<std::string> warnings;  // about other files of the chain
};

// Checks one image file. Errors: as OpenImage(); ENOTSUP for raw.
absl::StatusOr<CheckResult> CheckImage(FileSystem& file_system,
                                       const std::string& path,
                                       const CheckOptions& options);

struct InfoOptions {
  std::string format = {};
  bool lock = true;
  bool share_writes = false;
};

// The header of one image; its backing file is not opened.
absl::StatusOr<ImageInfo> ReadImageInfo(FileSystem& file_system,
                                        const std::string& path,
                                        const InfoOptions& options);

// The same for the image and everything below it, the image first.
// Errors: as OpenImage().
absl::StatusOr<std::vector<ImageInfo>> ReadChainInfo(
    FileSystem& file_system, const std::string& path,
    const InfoOptions& options);

// How the verbs that go through a whole disk do so.
struct WorkOptions {
  // Pieces of the disk under way at once, 1 to 64. Each takes up to 2 MiB, and
  // that with the metadata caches is the memory a verb needs, whatever the size
  // of the image.
  int parallel = 8;
  // Called by one thread at a time, now and then and at the end, with the bytes
  // of the disk that are done. False stops the verb, which then fails with
  // EINTR.
  std::function<bool(uint64_t done, uint64_t total)> progress = nullptr;
};

struct ConvertOptions {
  std::string format = {};  // of the source; empty: found by magic
  bool share_writes = false;
  // What to make. Its size is the source's, rounded up where the format needs
  // it. With a backing file only what differs from that is written.
  CreateOptions target = {};
  // False: the target exists, is at least as large as the source, and only
  // what it shows changes. Of `target` the format is used, empty: by magic.
  bool create_target = true;
  // Zeroes in data are left out of the target in runs of at least this many
  // bytes, a multiple of 512. 0: nothing is left out, and host space for all of
  // the target is reserved.
  uint64_t sparse_bytes = 4096;
  WorkOptions work = {};
};

struct ConvertResult {
  uint64_t size = 0;           // of the target, bytes
  uint64_t written_bytes = 0;  // data; the host may have shared its blocks
  std::vector<std::string> warnings;
};

// Copies what the disk at `source` shows to the image at `target`. After a
// failure a target that the call made is removed; an existing one is to be
// written again. Errors: as OpenImage() and CreateImage(); ENOSPC the existing
// target is smaller; EINVAL the target is a file of the source.
absl::StatusOr<ConvertResult> ConvertImage(FileSystem& file_system,
                                           const std::string& source,
                                           const std::string& target,
                                           const ConvertOptions& options);

struct CompareOptions {
  // Sizes and what is allocated must be the same, too.
  bool strict = false;
  WorkOptions work = {};
};

struct CompareResult {
  enum class Outcome {
    kSame,
    kContentDiffers,     // `offset`: the first byte that does
    kSizeDiffers,        // only when strict
    kAllocationDiffers,  // `offset`: the first place; only when strict
    kMapFailed,          // `error`
    kReadFailed,         // `error`
  };

  Outcome outcome = Outcome::kSame;
  uint64_t offset = 0;  // bytes
  // The sizes differ, and the rest of the longer disk is zeroes as far as
  // `outcome` says.
  bool sizes_differ = false;
  absl::Status error = absl::OkStatus();
};

// Compares what two disks show; past its end the shorter one is zeroes. What
// both take from the same place of the same file is not read. Errors: EINTR.
absl::StatusOr<CompareResult> CompareImages(Image& first, Image& second,
                                            const CompareOptions& options);

struct FlattenOptions {
  std::string format = {};
  WorkOptions work = {};
};

struct FlattenResult {
  uint64_t copied_bytes = 0;  // data; the host may have shared its blocks
  // add-cow: this file is the disk now, byte for byte.
  std::string data_file = {};
  std::vector<std::string> warnings = {};
};

// Makes every cluster the image's own, then drops its backing file. Zeroes
// stay holes, or zero clusters. An image without a backing file stays as it is.
// Errors: as OpenImage(); ENOTSUP for raw.
absl::StatusOr<FlattenResult> FlattenImage(FileSystem& file_system,
                                           const std::string& path,
                                           const FlattenOptions& options);

struct CommitOptions {
  std::string format = {};
  // An image of the chain below `path`, as a name relative to the directory of
  // that, or else as a path; empty: its backing file. When it is
  // further below, the images between are not to be used any more.
  std::string base = {};
  // The image keeps its clusters; always when `base` is further below.
  bool keep = false;
  WorkOptions work = {};
};

struct CommitResult {
  std::string base = {};       // resolved
  uint64_t written_bytes = 0;  // data
  bool emptied = false;
  std::vector<std::string> warnings = {};
};

// Writes what the images above `base` hold into it, growing it to the size of
// the disk, then empties the image at `path`. Every other overlay of the base
// shows something else afterwards. Errors: as OpenImage(); EINVAL there is no
// such base.
absl::StatusOr<CommitResult> CommitImage(FileSystem& file_system,
                                         const std::string& path,
                                         const CommitOptions& options);

struct RebaseOptions {
  std::string format = {};
  std::string backing_file = {};    // as to be recorded; empty: none
  std::string backing_format = {};  // empty: found by magic
  // Only the recorded name changes: what the disk shows may change with it.
  // The new backing file is not opened, nor is the old one.
  bool unsafe = false;
  WorkOptions work = {};
};

struct RebaseResult {
  uint64_t copied_bytes = 0;
  std::vector<std::string> warnings;
};

// Puts the image on another backing file. What the disk shows stays: clusters
// that would show something else are copied into the image first. Errors: as
// OpenImage(); EINVAL the new chain has the image in it, or the format has no
// backing files; ENAMETOOLONG there is no room for the name.
absl::StatusOr<RebaseResult> RebaseImage(FileSystem& file_system,
                                         const std::string& path,
                                         const RebaseOptions& options);

struct ResizeOptions {
  enum class How { kTo, kBy, kDownBy };

  std::string format = {};
  How how = How::kTo;
  uint64_t bytes = 0;
  bool shrink = false;  // what lies past a smaller end may be dropped
};

// Changes the size of a disk; what is new reads as zeroes. Return values: the
// new size. Errors: as OpenImage() and BlockDevice::Resize(); EINVAL smaller
// without `shrink`.
absl::StatusOr<uint64_t> ResizeImage(FileSystem& file_system,
                                     const std::string& path,
                                     const ResizeOptions& options);

// What is recorded in an image, without a look at the files that it names.
// nullopt stays; an empty string is none (of a backing format: to be found by
// magic).
struct AmendOptions {
  std::string format = {};
  std::optional<std::string> backing_file = {};
  std::optional<std::string> backing_format = {};
  std::optional<std::string> data_file = {};    // add-cow: its image file
  std::optional<std::string> data_format = {};  // add-cow
};

// Errors: as RebaseImage().
absl::Status AmendImage(FileSystem& file_system, const std::string& path,
                        const AmendOptions& options);

// The bytes of all files of an image, on a file system with holes; for raw the
// size of the disk in both, as qemu-img says.
struct Measurement {
  uint64_t required = 0;         // for what there is
  uint64_t fully_allocated = 0;  // with every cluster written
};

struct MeasureOptions {
  std::string format = {};
  bool share_writes = false;
  // Its size is not used, and what a backing file would hold is counted.
  CreateOptions target = {};
};

// What ConvertImage() of the disk at `path` would need.
absl::StatusOr<Measurement> MeasureImage(FileSystem& file_system,
                                         const std::string& path,
                                         const MeasureOptions& options);

// The same for a new disk of target.size. Errors: EINVAL without a size.
absl::StatusOr<Measurement> MeasureNewImage(const CreateOptions& target);

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_OPS_H_
