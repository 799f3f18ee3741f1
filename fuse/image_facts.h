// SPDX-License-Identifier: Apache-2.0
//
// What files are, remembered: each is opened once per state it is in.
#ifndef FLATCOW_FUSE_IMAGE_FACTS_H_
#define FLATCOW_FUSE_IMAGE_FACTS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "file_signature.h"
#include "flatcow/confined_file_system.h"
#include "flatcow/file.h"
#include "flatcow/image.h"
#include "mutex.h"

namespace flatcow::daemon {

// What the header of one image says. Not changed once made.
struct ImageFacts {
  // Why it can't be used, or 0. Just the errno: opening tells the rest.
  int error = 0;
  std::string format;
  uint64_t virtual_size = 0;  // bytes
  uint32_t cluster_size = 0;  // bytes
  bool all_allocated = false;
  std::optional<ImageLink> data_file;
  std::optional<ImageLink> backing;
  std::string read_only;  // why it can only be read; empty: it can be written

  friend bool operator==(const ImageFacts&, const ImageFacts&) = default;
};

// One look at a file.
struct Look {
  FileStat stat;
  std::optional<FileStat> data_stat;        // of the data file, if it has one
  std::shared_ptr<const ImageFacts> facts;  // null: not an image
  bool through_link = false;                // the name is a symbolic link
};

// At a file that is a raw image whatever its bytes are.
Look LookAtRaw(const FileStat& stat);

// Thread-safe.
class ImageInspector {
 public:
  // `files` outlives this.
  explicit ImageInspector(ConfinedFileSystem& files) : files_(files) {}

  // Says what the file at `path` is, which had `stat` when it was found. It is
  // opened only if it, or its data file, changed since it was last opened, or
  // could not be used then.
  // Errors: it can't be opened or read, or it is another file by now (ESTALE).
  absl::StatusOr<Look> Inspect(const std::string& path, const FileStat& stat);

  // How many files are remembered.
  size_t size();

  // Forgets all files but these.
  void Keep(const absl::flat_hash_set<FileId>& files);

 private:
  struct Record {
    FileSignature signature;
    bool settled = false;  // see IsSettled()
    std::optional<FileSignature> data_signature;
    std::shared_ptr<const ImageFacts> facts;
  };

  std::optional<Look> Remembered(const FileStat& stat);
  absl::StatusOr<Look> Open(const std::string& path, const FileId& expected);

  ConfinedFileSystem& files_;
  Mutex mutex_;
  absl::flat_hash_map<FileId, Record> records_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_IMAGE_FACTS_H_
