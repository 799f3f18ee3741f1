// SPDX-License-Identifier: Apache-2.0
//
// Opening a disk image with its backing chain.
//
//   auto image = flatcow::OpenImage(flatcow::PosixFileSystem(), "vm.qed",
//                                   {.access = flatcow::Access::kReadWrite});
//   if (!image.ok()) return image.status();
//   (*image)->Write(0, bytes);
//   (*image)->Flush();
#ifndef FLATCOW_IMAGE_H_
#define FLATCOW_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/block_device.h"
#include "flatcow/file.h"

namespace flatcow {

class BackingPool;
class MetadataCache;

// A cache of L2 tables and bitmap pages for all the images opened with it, at
// most `limit_bytes` (rounded up to a few pages). Thread-safe.
std::shared_ptr<MetadataCache> NewMetadataCache(size_t limit_bytes);

// What a cache has done since it was made, and what is in it now.
struct CacheStatistics {
  uint64_t hits = 0;       // reads that found their page
  uint64_t misses = 0;     // pages read from a file
  uint64_t evictions = 0;  // pages that made room for others
  uint64_t pages = 0;      // that fit
  uint64_t dirty_pages = 0;
};
CacheStatistics StatisticsOf(const MetadataCache& cache);

// The backing files of all the images opened with it, each open once however
// many images are based on it. One for images that are opened with the same
// FileSystem and the same locking. Thread-safe.
std::shared_ptr<BackingPool> NewBackingPool();

struct OpenOptions {
  Access access = Access::kReadOnly;
  // raw, add-cow, qed or qcow2. Empty: found by magic, raw when there is none.
  std::string format = {};
  // Takes QEMU's locks on every file of the chain. `share_writes` (qemu-img's
  // -U) reads beside a writer; only with kReadOnly.
  bool lock = true;
  bool share_writes = false;
  // Null: a cache of its own, of 16 MiB.
  std::shared_ptr<MetadataCache> metadata_cache = nullptr;
  // Null: shared with no other image.
  std::shared_ptr<BackingPool> backing_pool = nullptr;
};

// A file that an image names.
struct ImageLink {
  std::string name;    // as recorded in the image; any bytes but NUL
  std::string path;    // where that is, from the directory of the image
  std::string format;  // as recorded; empty: to be found by magic

  friend bool operator==(const ImageLink&, const ImageLink&) = default;
};

// What qcow2 images say besides.
struct Qcow2Info {
  int version = 3;
  uint32_t refcount_bits = 16;
  bool lazy_refcounts = false;
  bool corrupt = false;  // marked as such
  bool extended_l2 = false;
  bool data_file_raw = false;  // the data file by itself is the disk
  std::string compression_type = "zlib";

  friend bool operator==(const Qcow2Info&, const Qcow2Info&) = default;
};

// What one image file says about itself; its backing file is not opened.
struct ImageInfo {
  std::string path;           // absolute, links resolved
  std::string format;         // raw, add-cow, qed, qcow2
  uint64_t virtual_size = 0;  // bytes
  uint32_t cluster_size = 0;  // bytes; 0 for raw
  std::optional<ImageLink> backing;
  std::optional<ImageLink> data_file;  // add-cow: the image file
  bool needs_check = false;            // QED: NEED_CHECK; qcow2: the dirty bit
  bool all_allocated = false;          // add-cow: ALL_ALLOCATED is set
  std::string read_only = {};          // why it can only be read; empty: it
                                       // can be written
  std::optional<Qcow2Info> qcow2 = {};
  uint64_t allocated_bytes = 0;  // on the host, its data file included
};

// Reads the header of an image that is already open. `file` is read, nothing
// else is opened; the data file is asked for its size with Stat(), or, where it
// is an image, opened for its own header in the same way.
// Errors: EINVAL damaged, ENOTSUP a feature or format not supported, ENOENT
// the data file is missing, ELOOP image files that lead in a circle.
absl::StatusOr<ImageInfo> InspectImage(FileSystem& file_system,
                                       const File& file,
                                       const std::string& format = "");

// The format whose magic the file begins with. Return values: a format's name;
// "raw" when there is no magic.
absl::StatusOr<std::string> ProbeFormat(const File& file);

// What an image has done since it was opened.
struct ImageStatistics {
  uint64_t allocated_clusters = 0;  // made the image's own, with data in them
  uint64_t copied_bytes = 0;        // from below, to complete these clusters
  uint64_t flush_rounds = 0;
};

// An open virtual disk: an image and everything below it.
class Image : public BlockDevice {
 public:
  // Files of the chain, the image first, each with its data file behind it, and
  // with everything below that where the data file is an image.
  virtual std::vector<std::string> ChainPaths() const = 0;

  // Those of them that writes to this image go to, the image first.
  virtual std::vector<std::string> WrittenPaths() const = 0;

  // What the image itself said when it was opened.
  virtual const ImageInfo& Info() const = 0;

  // Takes no lock.
  virtual ImageStatistics Statistics() const = 0;

  // How many clusters are the image's own, those known to be zero not counted,
  // if `max_runs` runs of them tell; else nothing. Errors: EIO.
  virtual absl::StatusOr<std::optional<uint64_t>> CountAllocatedClusters(
      uint64_t max_runs) = 0;

  // True once opened read-write or made writable.
  virtual bool Writable() const = 0;

  // Turns a read-only image into a writable one: takes the writer's locks on
  // the same descriptors, then opens for writing. No effect when writable
  // already; on failure the image stays as it was.
  // Errors: EBUSY locked, EROFS the image can only be read, EACCES.
  virtual absl::Status MakeWritable() = 0;

  // True when metadata is newer than its file, or when a sync has failed and
  // Flush() has that to say.
  virtual bool NeedsFlush() const = 0;

  // Makes every cluster that the extent touches the image's own. What the disk
  // shows stays: data is copied, with the host's help where it has any, zeroes
  // become holes or zero clusters. Return values: bytes of data copied. Errors:
  // EFBIG past the end, EROFS; the clusters before are the image's own.
  virtual absl::StatusOr<uint64_t> Populate(Extent extent) = 0;

  // Makes the disk smaller: what lies past `new_size` is dropped, and reads as
  // zeroes should the disk grow again. Larger than Size(): EINVAL. A size that
  // the format can't hold: EINVAL.
  virtual absl::Status Shrink(uint64_t new_size) = 0;

  // The disk as a host file that others may read and write directly: every byte
  // of it is the same byte of that file, which ends where the disk does. For a
  // writable image, or one that may yet become so, that holds for good; with
  // `never_written` only as long as nobody writes to the image. Flush() covers
  // writes to the file from the first such answer on.
  // Return values: a descriptor of the image's own; -1: there is no such file.
  virtual int FlatFile(bool never_written) = 0;

  // Somebody may have made the flat file longer by writing to it behind its
  // end: its length is the size of the disk now.
  virtual absl::Status AdoptGrowth() = 0;

  // What the data files of the chain occupy on the host, at most Size(); not 0
  // unless every byte reads as zero.
  virtual absl::StatusOr<uint64_t> AllocatedBytes() = 0;

  // Things the user should know of although the image opened.
  virtual const std::vector<std::string>& Warnings() const = 0;
};

// Opens an image and its whole chain. A read-only open changes nothing on
// disk. The destructor writes metadata that is newer than its file; call
// Flush() first to see its errors. Errors: EINVAL damaged, ENOTSUP feature or
// format not supported, ENOENT a file of the chain is missing, ELOOP a cycle or
// too long a chain, EACCES not permitted, EBUSY locked, EROFS only reading is
// possible.
absl::StatusOr<std::unique_ptr<Image>> OpenImage(FileSystem& file_system,
                                                 const std::string& path,
                                                 const OpenOptions& options);

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_H_
