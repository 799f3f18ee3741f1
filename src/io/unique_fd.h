// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_IO_UNIQUE_FD_H_
#define FLATCOW_IO_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace flatcow {

// A file descriptor that closes itself; -1 is none.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd() {
    if (fd_ >= 0) close(fd_);
  }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

}  // namespace flatcow

#endif  // FLATCOW_IO_UNIQUE_FD_H_
