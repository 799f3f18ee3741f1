// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FUSE_HOLDERS_H_
#define FLATCOW_FUSE_HOLDERS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace flatcow::daemon {

// Who has files of the mount at `mountpoint` (st_dev `device`) open: a line
// for each process and loop device, as in "qemu-system-x86 (pid 123):
// /mnt/vm1.qed.raw". Asks nothing of the mount. Processes of others may be
// missing when we are not root.
std::vector<std::string> FindHolders(const std::string& mountpoint,
                                     uint64_t device);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_HOLDERS_H_
