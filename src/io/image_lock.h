// SPDX-License-Identifier: Apache-2.0
//
// QEMU's image locks: which bytes of a file say what an opener does to it and
// what it does not want others to do.
//
//   byte 100 + i   "I use permission i"
//   byte 200 + i   "I do not share permission i"
//
// An opener takes its bytes as read locks, which never conflict, and then
// looks whether somebody else holds the opposite bytes; if so it gives up all
// that it took. Two openers that race may both give up.
#ifndef FLATCOW_IO_IMAGE_LOCK_H_
#define FLATCOW_IO_IMAGE_LOCK_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "flatcow/file.h"

namespace flatcow {

// How a file is used; each has its row in the table of locks.
enum class LockRole {
  kNone,           // no bytes: locking is off
  kImageReadOnly,  // also an add-cow's image file, read-only
  kImageReadWrite,
  kShared,  // reads beside a writer (-U)
  kBacking,
};

// The bytes one open file holds. Not thread-safe; the bytes belong to `file`
// and go when its last descriptor closes.
class ImageLock {
 public:
  // `file` must outlive this.
  explicit ImageLock(File& file) : file_(file) {}
  ~ImageLock();
  ImageLock(const ImageLock&) = delete;
  ImageLock& operator=(const ImageLock&) = delete;

  // Exchanges the bytes held for those of `role`. On a conflict the bytes held
  // before are held still.
  // Errors: EBUSY, naming the file, what is in the way and, where it can be
  // found, the process that holds it; ENOLCK where the file system refuses
  // locks (the message names `lock=off`).
  absl::Status Take(LockRole role);

  LockRole role() const { return role_; }

 private:
  File& file_;
  LockRole role_ = LockRole::kNone;
};

// "name (pid 1234)" of the processes that hold locks on the file, comma
// separated; empty when none can be seen. /proc/locks shows no owner for such
// locks, so the `lock:` lines of /proc/*/fdinfo/* are searched. `self`, an open
// file of this process whose own locks do not count, may be null.
std::string LockHolders(FileId id, const File* self);

}  // namespace flatcow

#endif  // FLATCOW_IO_IMAGE_LOCK_H_
