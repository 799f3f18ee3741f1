// SPDX-License-Identifier: Apache-2.0
//
// libfuse, in the version of its interface that this folder is written for.
// For the files that talk to the kernel: fuse_ops, init_step, open_reply
// and session.
#ifndef FLATCOW_FUSE_FUSE_API_H_
#define FLATCOW_FUSE_FUSE_API_H_

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#endif  // FLATCOW_FUSE_FUSE_API_H_
