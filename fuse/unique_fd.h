// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FUSE_UNIQUE_FD_H_
#define FLATCOW_FUSE_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace flatcow::daemon {

// Owns a file descriptor; -1 is none.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int descriptor) : descriptor_(descriptor) {}
  UniqueFd(UniqueFd&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      descriptor_ = std::exchange(other.descriptor_, -1);
    }
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return descriptor_; }
  bool ok() const { return descriptor_ >= 0; }
  int Release() { return std::exchange(descriptor_, -1); }
  void Reset() {
    if (descriptor_ >= 0) close(descriptor_);
    descriptor_ = -1;
  }

 private:
  int descriptor_ = -1;
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_UNIQUE_FD_H_
