// SPDX-License-Identifier: Apache-2.0
//
// The place of the mount in the name space, seen from outside.
#ifndef FLATCOW_FUSE_MOUNT_POINT_H_
#define FLATCOW_FUSE_MOUNT_POINT_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace flatcow::daemon {

// What is mounted at a path; of several mounts there, the uppermost.
struct MountEntry {
  std::string type;           // as in "fuse.flatcow"
  uint64_t device = 0;        // st_dev
  std::optional<uid_t> user;  // of a FUSE mount: who mounted it
};

// `path` is absolute and resolved. Nothing when it is no mount point.
std::optional<MountEntry> FindMount(const std::string& path);

// The same, in the text of a /proc/self/mountinfo.
std::optional<MountEntry> FindMountIn(const std::string& mountinfo,
                                      const std::string& path);

// The st_dev of what is mounted at `path`, without a request to it.
absl::StatusOr<uint64_t> DeviceAt(const std::string& path);

// Has the daemon of the FUSE mount at `path` died? Asks the mount; false when
// it answers, or does not want to.
bool IsDead(const std::string& path);

// Takes the mount with this st_dev out of the name space at once; those who
// have a file of it open keep it. Errors: something else is mounted over it
// (EBUSY), or there is no permission.
absl::Status DetachMount(const std::string& path, uint64_t device);

// Sets how far the kernel reads ahead on the mount. Needs root; failure is
// not told, for the mount works without it.
void SetReadAhead(uint64_t device, unsigned kibibytes);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_MOUNT_POINT_H_
