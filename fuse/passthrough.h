// SPDX-License-Identifier: Apache-2.0
//
// Host files that the kernel reads and writes itself where a view stands, so
// that no data passes the daemon.
#ifndef FLATCOW_FUSE_PASSTHROUGH_H_
#define FLATCOW_FUSE_PASSTHROUGH_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mutex.h"

namespace flatcow::daemon {

// A number that stands for a host file in the answer to OPEN; 0 is none.
using BackingId = int32_t;

// Thread-safe.
class BackingFiles {
 public:
  virtual ~BackingFiles() = default;

  // Gives the file behind a descriptor an id. The descriptor may be closed
  // afterwards, and need not be open for writing: each open of the view opens
  // the file anew, in its own way and with the daemon's rights.
  // Errors: EPERM the daemon lacks the privilege; others: not with this file.
  virtual absl::StatusOr<BackingId> Open(int descriptor) = 0;

  // Takes an id back. Opens that were answered with it go on.
  virtual void Close(BackingId id) = 0;
};

// Those of a FUSE connection.
class KernelBackingFiles final : public BackingFiles {
 public:
  // `device` is the connection's, and stays open until Disconnect(); the ids
  // end with the connection.
  void Connect(int device);
  void Disconnect();

  absl::StatusOr<BackingId> Open(int descriptor) override;
  void Close(BackingId id) override;

 private:
  // Held while the kernel is asked: the descriptor must not be closed, and its
  // number given to another file, meanwhile.
  Mutex mutex_;
  int device_ ABSL_GUARDED_BY(mutex_) = -1;
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_PASSTHROUGH_H_
