// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_MOUNT_OPEN_ERRNO_H_
#define FLATCOW_TEST_MOUNT_OPEN_ERRNO_H_

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace flatcow {

// 0: it opens. It is closed again.
inline int OpenErrno(const std::string& path, int flags = O_RDONLY) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  return fd >= 0 ? 0 : errno;
}

}  // namespace flatcow

#endif  // FLATCOW_TEST_MOUNT_OPEN_ERRNO_H_
