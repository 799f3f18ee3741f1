// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FUSE_USER_MOUNT_H_
#define FLATCOW_FUSE_USER_MOUNT_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "options.h"

namespace flatcow::daemon {

// Refuses what fusermount3 would refuse, with a line that says what to do: a
// plain user's allow_other or allow_root where the host does not permit it.
absl::Status CheckUserMount(const Options& options);

// Is there a line user_allow_other in this text of a fuse.conf?
bool PermitsAllowOther(absl::string_view fuse_conf);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_USER_MOUNT_H_
