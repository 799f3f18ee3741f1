// SPDX-License-Identifier: Apache-2.0
//
// The verbs over images that flatcow-img offers. All take the locks of
// QEMU's protocol before they open anything for writing.
#ifndef FLATCOW_IMAGE_OPS_H_
#define FLATCOW_IMAGE_OPS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/file.h"
#include "flatcow/image.h"

namespace flatcow {

struct CreateOptions {
  std::string format = "raw";         // raw, add-cow, qed
  std::optional<uint64_t> size = {};  // bytes; without: the backing file's
  std::string backing_file = {};      // as to be recorded; empty: none
  std::string backing_format = {};    // empty: found by magic
  // The backing file is recorded without being opened (needs `size`).
  bool unsafe_backing = false;
  bool force = false;             // an existing file may be overwritten
  uint32_t cluster_size = 0;      // bytes; 0: 65536
  uint32_t table_size = 0;        // QED: clusters in a table; 0: 4
  std::string image_file = {};    // add-cow: as to be recorded; must be given
  std::string image_format = {};  // add-cow; empty: raw
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

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_OPS_H_
