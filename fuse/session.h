// SPDX-License-Identifier: Apache-2.0
//
// The life of the daemon: from the command line to the last close.
#ifndef FLATCOW_FUSE_SESSION_H_
#define FLATCOW_FUSE_SESSION_H_

#include "options.h"

namespace flatcow::daemon {

// Mounts and serves; returns when the mount is gone and everything is flushed.
// Without options.foreground the calling process exits with 0 as soon as the
// mount answers, and this returns in its child.
// Return values, as mount(8): 0; 2 a system error, SOURCE can't be read among
// them; 32 the mount failed.
int RunSession(const Options& options);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_SESSION_H_
