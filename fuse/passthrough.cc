// SPDX-License-Identifier: Apache-2.0
#include "passthrough.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "flatcow/status.h"
#include "unique_fd.h"

namespace flatcow::daemon {
namespace {

// As the kernel's fuse.h has it; the installed header may be older.
struct BackingMap {
  int32_t descriptor;
  uint32_t flags;
  uint64_t padding;
};
static_assert(sizeof(BackingMap) == 16);

constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(229, 2, uint32_t);

// Opens of the view come with O_DIRECT or without, and all of them open the
// file as they are.
absl::Status CheckUsable(int descriptor) {
  struct stat stat;
  if (fstat(descriptor, &stat) != 0) return ErrnoError(errno, "backing file");
  if (!S_ISREG(stat.st_mode)) return ErrnoError(EOPNOTSUPP, "not a file");
  const UniqueFd direct(open(absl::StrCat("/proc/self/fd/", descriptor).c_str(),
                             O_RDONLY | O_DIRECT | O_CLOEXEC));
  return direct.ok() ? absl::OkStatus() : ErrnoError(errno, "direct I/O");
}

}  // namespace

void KernelBackingFiles::Connect(int device) {
  MutexLock lock(mutex_);
  device_ = device;
}

void KernelBackingFiles::Disconnect() {
  MutexLock lock(mutex_);
  device_ = -1;
}

absl::StatusOr<BackingId> KernelBackingFiles::Open(int descriptor) {
  const absl::Status usable = CheckUsable(descriptor);
  if (!usable.ok()) return usable;
  const BackingMap map{descriptor, 0, 0};
  MutexLock lock(mutex_);
  const int id = ioctl(device_, kBackingOpen, &map);
  if (id < 0) return ErrnoError(errno, "backing file");
  if (id == 0) return ErrnoError(EINVAL, "backing file");
  return id;
}

void KernelBackingFiles::Close(BackingId id) {
  const auto number = static_cast<uint32_t>(id);
  MutexLock lock(mutex_);
  // Fails only where the connection is gone, and the id with it.
  ioctl(device_, kBackingClose, &number);
}

}  // namespace flatcow::daemon
