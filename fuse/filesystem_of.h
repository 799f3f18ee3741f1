// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FUSE_FILESYSTEM_OF_H_
#define FLATCOW_FUSE_FILESYSTEM_OF_H_

#include "filesystem.h"
#include "fuse_api.h"

namespace flatcow::daemon {

// What the session was given as its user data.
inline Filesystem& FilesystemOf(fuse_req_t request) {
  return *static_cast<Filesystem*>(fuse_req_userdata(request));
}

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_FILESYSTEM_OF_H_
