// SPDX-License-Identifier: Apache-2.0
//
// Requests of the kernel, decoded, passed to Filesystem, and answered.
#ifndef FLATCOW_FUSE_FUSE_OPS_H_
#define FLATCOW_FUSE_FUSE_OPS_H_

#include "fuse_api.h"

namespace flatcow::daemon {

// For fuse_session_new(), whose userdata must then be a Filesystem*.
const fuse_lowlevel_ops& FuseOperations();

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_FUSE_OPS_H_
